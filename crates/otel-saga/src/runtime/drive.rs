//! Drives one instance: journals the commands of the core, then carries them out.
//!
//! Follows `docs/sagas.md`, "Appends": an outcome and the intents that follow from it are one append.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use otel_operation::Outcome;
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub(super) use self::plan::{Plan, PlannedAttempt, plan};
use super::append::Appended;
use super::attempt::{AttemptKey, AttemptTask};
use super::{Inner, LocalInstance, RegisteredSaga};
use crate::definition::Definition;
use crate::error::{BoxError, Kind, StepError};
use crate::flow::{End, Phase, Record, State, StepKind};
use crate::journal::{Cursor, Then, millis, now};
use crate::operator::read;
use crate::telemetry::{Prepared, Telemetry, alert, parent};

type Settled = (AttemptKey, Result<Value, StepError>);

pub(super) struct InstanceDriver<S> {
    pub(super) inner: Arc<Inner<S>>,
    pub(super) definition: Arc<Definition<S>>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) id: Arc<str>,
    /// The parent context of attempts.
    pub(super) parent: Context,
    /// The current state. It includes the records of a planned append before the journal has them. Attempts release
    /// their reference once they have read it.
    pub(super) state: Arc<State>,
    pub(super) cursor: Cursor,
    /// The running attempts, each with the sender that cancels it.
    pub(super) running: HashMap<AttemptKey, watch::Sender<bool>>,
    tasks: JoinSet<Settled>,
    /// Outcomes that are not in the journal yet.
    pub(super) settled: Vec<Record>,
    /// True if a wait was shortened. The journal has the longer one, so that this wait takes place in memory.
    pub(super) shortened: bool,
    requested: Arc<Notify>,
}

impl<S: Send + Sync + 'static> InstanceDriver<S> {
    /// Prepares to drive an instance that this worker owns or is about to create.
    pub(super) fn new(
        inner: &Arc<Inner<S>>,
        known: RegisteredSaga<S>,
        id: Arc<str>,
        state: State,
        cursor: Cursor,
    ) -> Self {
        Self {
            inner: Arc::clone(inner),
            definition: known.definition,
            prepared: known.prepared,
            id,
            parent: parent(state.started.trace.as_deref()),
            state: Arc::new(state),
            cursor,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            settled: Vec::new(),
            shortened: false,
            requested: Arc::new(Notify::new()),
        }
    }

    /// Spawns the task that drives the instance until it ends, is parked, waits in the journal, or is lost to another
    /// worker.
    pub(super) fn spawn(self, permit: OwnedSemaphorePermit) {
        let mut drive = self;
        let (inner, id) = (Arc::clone(&drive.inner), drive.id.to_string());
        let requested = Arc::clone(&drive.requested);
        let (driving, gone) = watch::channel(());
        // The lock is held while spawning, so that a task that ends at once finds its entry.
        let mut local = inner.local();
        let task = tokio::spawn(async move {
            if let Err(error) = drive.run().await {
                alert(&drive.id, "", "saga stopped on this worker", &error.to_string());
                drive.inner.mark_ownership_unknown();
            }
            let mut local = drive.inner.local();
            if local
                .get(&*drive.id)
                .is_some_and(|instance| Arc::ptr_eq(&instance.requested, &drive.requested))
            {
                local.remove(&*drive.id);
            }
            drop(local);
            drop((permit, driving));
        });
        local.insert(id, LocalInstance { task: task.abort_handle(), requested, gone });
    }

    async fn run(&mut self) -> Result<(), BoxError> {
        let mut stopping = self.inner.stopping.subscribe();
        loop {
            let plan = plan(self)?;
            let (wake, leaves) = (plan.wake, plan.leaves);
            if !(self.carry_out(plan).await?) {
                continue;
            }
            if leaves {
                return Ok(());
            }
            let due = async {
                match wake {
                    Some(at) => sleep(Duration::from_millis(at.saturating_sub(now()))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Ended attempts first: they are the most frequent event, and the others need not be polled then.
                biased;
                Some(settled) = self.tasks.join_next() => {
                    // The attempt's future catches panics, and its task is never aborted while this is polled.
                    let (tried, answer) = settled?;
                    self.settle(tried, answer);
                }
                () = due => {}
                () = self.requested.notified() => self.reload().await?,
                _ = stopping.changed() => {}
            }
        }
    }

    /// Journals the plan and starts its attempts. Returns false if the instance has changed since it was planned.
    async fn carry_out(&mut self, plan: Plan) -> Result<bool, BoxError> {
        let Plan { mut records, settled, then, attempts, .. } = plan;
        if records.is_empty() && then == Then::Continue {
            return Ok(true);
        }
        let appended = self.inner.append(&self.id, self.cursor, &records, then).await?;
        if !matches!(appended, Appended::At(_)) {
            self.prepared.conflicted();
            // The outcomes are planned again on top of the new state.
            records.truncate(settled);
            self.settled = records;
            let fenced = Outcome::error("fenced");
            attempts.into_iter().for_each(|attempt| Telemetry::not_made(attempt.operation, &fenced));
        } else {
            self.begin(attempts);
        }
        match appended {
            Appended::At(cursor) => self.cursor = cursor,
            Appended::Changed(state, cursor) => {
                (self.state, self.cursor) = (state, cursor);
                return Ok(false);
            }
            Appended::Lost => return Err("another worker has it".into()),
            Appended::Unreadable(error) => return Err(error),
        }
        if let Then::Finished(_) = then {
            self.ended();
        }
        Ok(true)
    }

    /// Starts attempts whose intents are in the journal.
    pub(super) fn begin(&mut self, attempts: Vec<PlannedAttempt>) {
        for PlannedAttempt { tried, attempt, mut operation } in attempts {
            Telemetry::made(&mut operation);
            let (cancel, cancelled) = watch::channel(false);
            self.running.insert(tried, cancel);
            if attempt > 1 {
                self.prepared.retried(tried.0);
            }
            let made = AttemptTask {
                definition: Arc::clone(&self.definition),
                shared: Arc::clone(&self.inner.state),
                state: Arc::clone(&self.state),
                id: Arc::clone(&self.id),
                tried,
                attempt,
                cancelled,
                operation,
            };
            self.tasks.spawn(made.run());
        }
    }

    /// Reloads the instance after a request was appended.
    async fn reload(&mut self) -> Result<(), BoxError> {
        // An unavailable journal is noticed at the next append.
        if let Ok(Some(loaded)) = self.inner.journal.load(&self.id).await
            && loaded.header.epoch == self.cursor.epoch
        {
            (self.state, self.cursor) = (Arc::new(read(&loaded)?), loaded.header.cursor());
        }
        Ok(())
    }

    /// Turns the result of an attempt into a record.
    fn settle(&mut self, tried: AttemptKey, answer: Result<Value, StepError>) {
        self.running.remove(&tried);
        let (step, phase) = tried;
        let error = match answer {
            Ok(output) => {
                self.settled.push(match phase {
                    Phase::Action => Record::Done { step, output },
                    Phase::Compensation => Record::Undone { step },
                });
                return;
            }
            Err(error) => error,
        };
        let text = error.text();
        let index = usize::from(step);
        let (Some(shape), Some(known)) =
            (self.definition.shapes.get(index), self.definition.steps.get(index))
        else {
            return;
        };
        if error.kind() == Kind::Refused && phase == Phase::Action {
            self.settled.push(Record::Refused { step, error: text });
            return;
        }
        let attempts = self.state.steps.get(index).map_or(1, |step| step.side(phase).attempts);
        let retry_at = now().saturating_add(millis(known.policy.retry.delay(attempts, &self.id)));
        let gave_up = error.kind() != Kind::Data && self.gives_up(tried, retry_at);
        if attempts >= known.policy.retry.attempts() && !gave_up {
            alert(&self.id, &shape.name, "a step that cannot be given up keeps failing", &text);
        }
        self.settled.push(Record::Failed { step, phase, error: text.clone(), retry_at, gave_up, wait: None });
        if error.kind() == Kind::Data {
            alert(&self.id, &shape.name, "the journal's data do not fit the definition", &text);
            self.settled.push(Record::Parked { reason: format!("step `{}`: {text}", shape.name) });
        }
    }

    /// Returns true if the step is to be given up: at this time, after the attempts so far, no further attempt is
    /// allowed.
    pub(super) fn gives_up(&self, (step, phase): AttemptKey, at: u64) -> bool {
        let index = usize::from(step);
        let (Some(shape), Some(known)) =
            (self.definition.shapes.get(index), self.definition.steps.get(index))
        else {
            return false;
        };
        let Some(side) = self.state.steps.get(index).map(|step| step.side(phase)) else { return false };
        let late =
            known.policy.deadline.is_some_and(|deadline| at > side.first_at.saturating_add(millis(deadline)));
        shape.kind == StepKind::Compensatable
            && phase == Phase::Action
            && side.attempts > 0
            && (late || side.attempts >= known.policy.retry.attempts())
    }

    fn ended(&self) {
        let Some(end) = self.state.ended else { return };
        let elapsed = Duration::from_millis(now().saturating_sub(self.state.started.at));
        let outcome = match end {
            End::Completed => "completed",
            End::Compensated => "compensated",
        };
        self.prepared.ended(outcome, elapsed);
    }
}
