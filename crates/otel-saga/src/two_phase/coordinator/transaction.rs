//! A transaction as its caller sees it: begun, given its branches, committed, and what came of it.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;

use super::drive::Drive;
use super::{Inner, KIND, Present, wrong_name};
use crate::error::{BoxError, InstanceError};
use crate::journal::{Created, JournalError, NewInstance, now};
use crate::telemetry::traceparent;
use crate::two_phase::flow::{Decision, Record, Started, State};
use crate::two_phase::participant::{Answer, Branch, BranchError, Participant};
use crate::two_phase::telemetry::TransactionSpan;

/// A transaction that was begun and is worked on. Dropped, it has never been: branches that were given to it are dropped too.
#[must_use = "nothing is committed but by `commit`"]
pub struct Transaction {
    inner: Arc<Inner>,
    id: String,
    name: String,
    branches: Vec<Arc<dyn Participant>>,
    /// The context of its span.
    context: Context,
    span: TransactionSpan,
    /// When it was begun, in milliseconds since the Unix epoch.
    began: u64,
    /// The parent of the transaction's span.
    parent: Option<String>,
}

/// A participant that decided on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heuristic {
    /// The participant's name.
    pub participant: String,
    /// What it has done.
    pub answer: Answer,
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The transaction: its name, a slash and its key.
    pub id: String,
    /// How it was decided. This is durable, and does not change any more.
    pub decision: Decision,
    /// Why it was aborted, if that is known.
    pub reason: Option<String>,
    /// The participants that have not acknowledged the decision yet. They are asked until they do.
    pub unacknowledged: Vec<String>,
    /// The participants that decided on their own, whether as the coordinator did or otherwise.
    pub heuristics: Vec<Heuristic>,
}

impl Outcome {
    /// What these records amount to, if it is decided.
    pub(super) fn of(id: &str, state: &State) -> Option<Self> {
        let name = |number| state.name_of(number).to_owned();
        let heuristics = state.heuristics();
        Some(Self {
            id: id.to_owned(),
            decision: state.decision?,
            reason: state.reason.clone(),
            unacknowledged: state.unacknowledged().map(name).collect(),
            heuristics: heuristics
                .map(|(number, answer)| Heuristic { participant: name(number), answer })
                .collect(),
        })
    }

    /// Whether it was decided to commit.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.decision == Decision::Commit
    }

    /// Whether no participant is known to have done otherwise than was decided.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.heuristics.iter().all(|heuristic| agrees(self.decision, heuristic.answer))
    }
}

/// Whether the participant did what was decided.
pub(super) fn agrees(decision: Decision, answer: Answer) -> bool {
    matches!(
        (decision, answer),
        (_, Answer::Done) | (Decision::Commit, Answer::Committed) | (Decision::Abort, Answer::RolledBack)
    )
}

/// Ends the transaction's span with what came of it, or with a class of errors and a text; once.
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

/// Why a transaction was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// The name is empty, longer than 40 bytes, or has a slash or what cannot be printed.
    #[error("`{name}` cannot be a transaction's name: 1 to 40 printable bytes, and no slash")]
    Name {
        /// The name.
        name: String,
    },
    /// The key is empty, too long, or has what cannot be printed. A branch's text is the names of the coordinator, the
    /// participant and the transaction, and the key, with 199 bytes at most: 76 are left for the key at least.
    #[error("`{key}` cannot be a transaction's key: 1 to some 76 printable bytes")]
    Key {
        /// The key.
        key: String,
    },
    /// The coordinator is shutting down.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

/// Why it is not known what became of a transaction, or why there was none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// No branch was given: there is nothing to commit.
    #[error("the transaction has no branches")]
    NoBranches,
    /// The coordinator was not given this participant, and could not tell it the decision after a crash.
    #[error("the coordinator has no participant `{name}`")]
    NotRegistered {
        /// The participant's name.
        name: String,
    },
    /// Two branches are of one participant, which has one branch in a transaction.
    #[error("the participant `{name}` has two branches")]
    Twice {
        /// The participant's name.
        name: String,
    },
    /// There was a transaction of this name and key, with other participants.
    #[error("`{id}` was begun with other participants")]
    OtherParticipants {
        /// The transaction.
        id: String,
    },
    /// The coordinator is shutting down; nobody was asked to prepare.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
    /// The journal did not take it: nobody was asked to prepare, and nothing is committed.
    #[error("the journal did not answer")]
    Journal(#[source] JournalError),
    /// The coordinator was stopped midway. What became of the transaction is known to whoever goes on with it:
    /// [`Coordinator::wait`](super::Coordinator::wait).
    #[error("the coordinator was stopped before `{id}` was decided, or before that was known")]
    Stopped {
        /// The transaction.
        id: String,
    },
    /// What became of the transaction cannot be read. [`Coordinator::wait`](super::Coordinator::wait) asks again.
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

    /// Its id: its name, a slash and its key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The OpenTelemetry context of the transaction, for the work that is done in it.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What the participant of this name knows the transaction by.
    ///
    /// # Errors
    ///
    /// If the name cannot be one.
    pub fn branch(&self, participant: &str) -> Result<Branch, BranchError> {
        let branch = Branch::new(&self.inner.name, participant, &self.id)?;
        if branch.participant() == participant {
            return Ok(branch);
        }
        Err(BranchError { text: branch.as_str().to_owned() })
    }

    /// Gives it a branch that was worked on: something that, asked to prepare, prepares that work. Its name is that of one of
    /// the coordinator's participants.
    pub fn with(mut self, branch: impl Participant) -> Self {
        self.branches.push(Arc::new(branch));
        self
    }

    /// Commits all branches, or none.
    ///
    /// It answers when the transaction is decided and each participant was told once; what one of them has not
    /// acknowledged by then is in the [`Outcome`], and is seen to. While the journal does not say whether it took the
    /// decision, there is none, and this waits. If this future is dropped, the transaction goes on.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]. An aborted transaction is none: it is an [`Outcome`].
    pub async fn commit(self) -> Result<Outcome, CommitError> {
        let inner = Arc::clone(&self.inner);
        let id = self.id.clone();
        let task = inner.spawn(&id, move |present| self.run(present).boxed());
        task.await.unwrap_or(Err(CommitError::Stopped { id }))
    }

    async fn run(mut self, present: Present) -> Result<Outcome, CommitError> {
        let result = self.begun(&present).await;
        let told = result.as_ref().map_err(ToString::to_string);
        end_span(&mut self.span, told.as_ref().map(|outcome| *outcome).map_err(|text| ("failed", &**text)));
        drop(present);
        result
    }

    async fn begun(&mut self, present: &Present) -> Result<Outcome, CommitError> {
        let names: Vec<String> = self.branches.iter().map(|branch| branch.name().to_owned()).collect();
        self.check(&names)?;
        let trace = traceparent(self.context.span().span_context());
        let started = Started::new(&*self.name, names, self.began).with_trace(trace, self.parent.take());
        let drive = match self.create(started).await? {
            Some(drive) => drive,
            // The branches that were worked on are not asked: the first ones were.
            None => return self.decided().await,
        };
        if let Ok(state) = drive.run(&mut self.span).await {
            if let Some(outcome) = Outcome::of(&self.id, &state) {
                return Ok(outcome);
            }
        } else {
            // Somebody else has it.
            present.lets_go();
        }
        self.decided().await
    }

    /// Waits for what others decide.
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

    /// Creates the transaction in the journal; none if there was one of this name and key.
    async fn create(&mut self, started: Started) -> Result<Option<Drive>, CommitError> {
        const TRIES: usize = 3;
        let failed = |error: BoxError| CommitError::Journal(JournalError::Failed(error));
        if !self.inner.has_lease().await {
            // Others would claim it at once.
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
                Ok(Created::New(cursor)) => {
                    let context = self.context.clone();
                    let branches = std::mem::take(&mut self.branches);
                    return Ok(Drive::begun(&self.inner, &self.id, &record, cursor, branches, context));
                }
                Ok(Created::Exists) => {
                    self.same_participants(&record).await?;
                    self.branches.clear();
                    return Ok(None);
                }
                Err(error) => {
                    if matches!(error, JournalError::Unknown(_)) {
                        self.inner.lost_an_answer();
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
