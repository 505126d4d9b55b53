//! A transaction from the caller's side: its branches, its commit, its outcome.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;

use super::drive::Drive;
use super::{Inner, KIND, LocalGuard, wrong_name};
use crate::error::{BoxError, InstanceError};
use crate::journal::{CreateOutcome, JournalError, NewInstance, now};
use crate::telemetry::traceparent;
use crate::two_phase::flow::{Decision, Record, Started, State};
use crate::two_phase::participant::{Acknowledgement, Branch, BranchError, Participant};
use crate::two_phase::telemetry::TransactionSpan;

/// A transaction that has begun. Dropping it without a commit leaves nothing behind, and drops the branches that were
/// added.
#[must_use = "nothing is committed but by `commit`"]
pub struct Transaction {
    inner: Arc<Inner>,
    id: String,
    name: String,
    branches: Vec<Arc<dyn Participant>>,
    /// The context of the transaction's span.
    context: Context,
    span: TransactionSpan,
    /// The time of the beginning, in milliseconds since the Unix epoch.
    began: u64,
    /// The parent of the transaction's span, as a `traceparent`.
    parent: Option<String>,
}

/// A heuristic outcome: a participant committed or rolled back on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heuristic {
    /// The participant's name.
    pub participant: String,
    /// The participant's report.
    pub acknowledgement: Acknowledgement,
}

/// The outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Id of the transaction: its name, a slash and its key.
    pub id: String,
    /// The decision, which is durable and final.
    pub decision: Decision,
    /// The reason of an abort, if it is known.
    pub reason: Option<String>,
    /// The participants that have not acknowledged the decision yet. Their calls are repeated until they do.
    pub unacknowledged: Vec<String>,
    /// The participants that decided on their own, in agreement with the decision or not.
    pub heuristics: Vec<Heuristic>,
}

impl Outcome {
    /// Returns the outcome of a state; `None` if it is undecided.
    pub(super) fn of(id: &str, state: &State) -> Option<Self> {
        let name = |number| state.name_of(number).to_owned();
        let heuristics = state.heuristics();
        Some(Self {
            id: id.to_owned(),
            decision: state.decision?,
            reason: state.reason.clone(),
            unacknowledged: state.unacknowledged().map(name).collect(),
            heuristics: heuristics
                .map(|(number, acknowledgement)| Heuristic { participant: name(number), acknowledgement })
                .collect(),
        })
    }

    /// Returns true if the decision is to commit.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.decision == Decision::Commit
    }

    /// Returns true if no participant is known to contradict the decision.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.heuristics.iter().all(|heuristic| agrees(self.decision, heuristic.acknowledgement))
    }
}

/// Returns true if the answer agrees with the decision.
pub(super) fn agrees(decision: Decision, acknowledgement: Acknowledgement) -> bool {
    matches!(
        (decision, acknowledgement),
        (_, Acknowledgement::Done)
            | (Decision::Commit, Acknowledgement::Committed)
            | (Decision::Abort, Acknowledgement::RolledBack)
    )
}

/// Ends the transaction's span, unless it has ended, with an outcome or with an error type and a description.
pub(super) fn end_span(span: &mut TransactionSpan, result: Result<&Outcome, (&'static str, &str)>) {
    let Some(mut operation) = span.take() else { return };
    let outcome = match result {
        Ok(outcome) if !outcome.is_consistent() => otel_operation::Outcome::error("heuristic"),
        Ok(outcome) if !outcome.is_committed() => {
            let reason = outcome.reason.clone().unwrap_or_default();
            otel_operation::Outcome::error("aborted").with_description(reason)
        }
        Ok(_) => otel_operation::Outcome::ok(),
        Err((class, text)) => otel_operation::Outcome::error(class).with_description(text.to_owned()),
    };
    operation.observer_mut().0 = result.ok().map(|outcome| outcome.decision);
    operation.finish(&outcome);
}

/// The reason for which a transaction was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// The name is empty, longer than 40 bytes, or contains a slash or a control character.
    #[error("`{name}` cannot be a transaction's name: 1 to 40 printable bytes, and no slash")]
    Name {
        /// The name.
        name: String,
    },
    /// The key is empty, too long, or contains a control character. The text of a branch consists of the names of the
    /// coordinator, the participant and the transaction, and the key, and has at most 199 bytes; at least 76 of them
    /// are available for the key.
    #[error("`{key}` cannot be a transaction's key: 1 to some 76 printable bytes")]
    Key {
        /// The key.
        key: String,
    },
    /// The coordinator is shutting down.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

/// The reason for which a commit returned no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The transaction has no branches.
    #[error("the transaction has no branches")]
    NoBranches,
    /// A branch's participant is not registered with the coordinator, which could not reach it after a crash.
    #[error("the coordinator has no participant `{name}`")]
    NotRegistered {
        /// Name of the participant.
        name: String,
    },
    /// Two branches belong to one participant, which can have only one branch in a transaction.
    #[error("the participant `{name}` has two branches")]
    Twice {
        /// Name of the participant.
        name: String,
    },
    /// A transaction with this name and key exists, with other participants.
    #[error("`{id}` was begun with other participants")]
    OtherParticipants {
        /// Id of the transaction.
        id: String,
    },
    /// The coordinator is shutting down; no participant was asked to prepare.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
    /// The journal request failed, or its outcome is unknown. No participant was asked to prepare, and nothing is
    /// committed.
    #[error("the journal did not answer")]
    Journal(#[source] JournalError),
    /// The coordinator was stopped before the outcome was known. Another coordinator resumes the transaction:
    /// [`Coordinator::wait`](super::Coordinator::wait) returns its outcome.
    #[error("the coordinator was stopped before `{id}` was decided, or before that was known")]
    Stopped {
        /// Id of the transaction.
        id: String,
    },
    /// The outcome cannot be read. Ask again with [`Coordinator::wait`](super::Coordinator::wait).
    #[error("what became of the transaction cannot be read")]
    Unknown(#[from] InstanceError),
}

impl Transaction {
    pub(super) fn begin(inner: &Arc<Inner>, name: &str, key: &str) -> Result<Self, BeginError> {
        if wrong_name(name) {
            return Err(BeginError::Name { name: name.to_owned() });
        }
        let id = format!("{name}/{key}");
        let wrong = |participant: &String| Branch::new(&inner.name, participant, &id).is_err();
        if key.is_empty() || key.chars().any(char::is_control) || inner.participants.keys().any(wrong) {
            return Err(BeginError::Key { key: key.to_owned() });
        }
        if *inner.stopping.borrow() {
            return Err(BeginError::ShuttingDown);
        }
        let parent = traceparent(Context::current().span().span_context());
        let (began, operation) = (now(), inner.telemetry.begin(&id, name));
        let (inner, name) = (Arc::clone(inner), name.to_owned());
        let context = operation.context().clone();
        Ok(Self { inner, id, name, branches: Vec::new(), context, span: Some(operation), began, parent })
    }

    /// Returns the transaction's id: its name, a slash and its key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the OpenTelemetry context of the transaction, for the work in it.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the identifier of this participant's branch of the transaction.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not valid for a participant.
    pub fn branch(&self, participant: &str) -> Result<Branch, BranchError> {
        let branch = Branch::new(&self.inner.name, participant, &self.id)?;
        if branch.participant() == participant {
            return Ok(branch);
        }
        Err(BranchError { text: branch.as_str().to_owned() })
    }

    /// Adds a branch with work to commit: a participant whose `prepare` prepares that work. Its name has to be that
    /// of one of the coordinator's participants.
    pub fn with(mut self, branch: impl Participant) -> Self {
        self.branches.push(Arc::new(branch));
        self
    }

    /// Commits all branches, or none.
    ///
    /// Returns when the transaction is decided and each participant was called once. The [`Outcome`] lists the
    /// participants that have not acknowledged the decision; their calls are repeated in the background. While the
    /// journal does not acknowledge the decision, this waits. Dropping the future does not stop the transaction.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]. An abort is an [`Outcome`], not an error.
    pub async fn commit(self) -> Result<Outcome, CommitError> {
        let inner = Arc::clone(&self.inner);
        let id = self.id.clone();
        let task = inner.spawn(&id, move |guard| self.run(guard).boxed());
        task.await.unwrap_or(Err(CommitError::Stopped { id }))
    }

    async fn run(mut self, guard: LocalGuard) -> Result<Outcome, CommitError> {
        let result = self.begun(&guard).await;
        let told = result.as_ref().map_err(ToString::to_string);
        end_span(&mut self.span, told.as_ref().map(|outcome| *outcome).map_err(|text| ("failed", &**text)));
        drop(guard);
        result
    }

    async fn begun(&mut self, guard: &LocalGuard) -> Result<Outcome, CommitError> {
        let names: Vec<String> = self.branches.iter().map(|branch| branch.name().to_owned()).collect();
        self.check(&names)?;
        let trace = traceparent(self.context.span().span_context());
        let started = Started::new(&*self.name, names, self.began).with_trace(trace, self.parent.take());
        let drive = match self.create(started).await? {
            Some(drive) => drive,
            // The branches of this call are not used: the transaction has those of the first one. It may be this call's
            // own, if the reply to its creation was lost; a registered task would then keep it from being driven.
            None => {
                guard.release();
                return self.decided().await;
            }
        };
        if let Ok(state) = drive.run(&mut self.span).await {
            if let Some(outcome) = Outcome::of(&self.id, &state) {
                return Ok(outcome);
            }
        } else {
            // Another coordinator owns the transaction.
            guard.release();
        }
        self.decided().await
    }

    /// Waits until another task or coordinator has decided the transaction.
    async fn decided(&self) -> Result<Outcome, CommitError> {
        let mut stopping = self.inner.stopping.subscribe();
        tokio::select! {
            outcome = self.inner.until(&self.id, |_| true) => Ok(outcome?),
            _ = stopping.wait_for(|stopping| *stopping) => Err(CommitError::Stopped { id: self.id.clone() }),
        }
    }

    fn check(&self, names: &[String]) -> Result<(), CommitError> {
        if names.is_empty() {
            return Err(CommitError::NoBranches);
        }
        for (index, name) in names.iter().enumerate() {
            if !self.inner.participants.contains_key(name) {
                return Err(CommitError::NotRegistered { name: name.clone() });
            }
            if names.iter().skip(index + 1).any(|other| other == name) {
                return Err(CommitError::Twice { name: name.clone() });
            }
        }
        if *self.inner.stopping.borrow() {
            return Err(CommitError::ShuttingDown);
        }
        Ok(())
    }

    /// Creates the transaction in the journal. Returns `None` if one with this name and key exists.
    async fn create(&mut self, started: Started) -> Result<Option<Drive>, CommitError> {
        const TRIES: usize = 3;
        let failed = |error: BoxError| CommitError::Journal(JournalError::Failed(error));
        if !self.inner.lease.is_valid().await {
            // Without a lease, other coordinators would claim it at once.
            return Err(failed("the lease was not renewed".into()));
        }
        let record = Record::Started(started);
        let encoded = record.encode().map_err(|error| failed(error.into()))?;
        let instance = NewInstance::new(&*self.id, format!("{KIND}{}", self.name), 1, vec![encoded])
            .with_worker(&*self.inner.options.worker);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.inner.journal.create(instance.clone()).await {
                Ok(CreateOutcome::New(cursor)) => {
                    let context = self.context.clone();
                    let branches = std::mem::take(&mut self.branches);
                    return Ok(Drive::begun(&self.inner, &self.id, &record, cursor, branches, context));
                }
                Ok(CreateOutcome::Exists) => {
                    self.same_participants(&record).await?;
                    self.branches.clear();
                    return Ok(None);
                }
                Err(error) => {
                    if matches!(error, JournalError::Unknown(_)) {
                        self.inner.mark_ownership_unknown();
                        if tries < TRIES {
                            continue;
                        }
                    }
                    return Err(CommitError::Journal(error));
                }
            }
        }
    }

    async fn same_participants(&self, record: &Record) -> Result<(), CommitError> {
        let state = self.inner.state(&self.id).await?;
        match record {
            Record::Started(wanted) if wanted.participants == state.started.participants => Ok(()),
            _ => Err(CommitError::OtherParticipants { id: self.id.clone() }),
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id)
            .field("branches", &self.branches)
            .finish_non_exhaustive()
    }
}
