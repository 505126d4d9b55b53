//! One instance on its way: what the core commands is journaled, then done.
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

pub(super) use self::plan::{Plan, Planned, plan};
use super::append::Appended;
use super::attempt::{Made, Try};
use super::{Here, Inner, Known};
use crate::definition::Definition;
use crate::error::{BoxError, Kind, StepError};
use crate::flow::{End, Phase, Record, State, StepKind};
use crate::journal::{Cursor, Then, millis, now};
use crate::operator::read;
use crate::telemetry::{Prepared, Telemetry, alert, parent};

type Settled = (Try, Result<Value, StepError>);

pub(super) struct Drive<S> {
    pub(super) inner: Arc<Inner<S>>,
    pub(super) definition: Arc<Definition<S>>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) id: Arc<str>,
    /// The context that attempts begin in.
    pub(super) parent: Context,
    /// Ahead of the journal from the plan of an append until that is there. Attempts let go of it when they have begun.
    pub(super) state: Arc<State>,
    pub(super) cursor: Cursor,
    /// What is under way, and how to tell it that its answer is not needed.
    pub(super) running: HashMap<Try, watch::Sender<bool>>,
    tasks: JoinSet<Settled>,
    /// Outcomes that are not in the journal yet.
    pub(super) settled: Vec<Record>,
    requested: Arc<Notify>,
}

impl<S: Send + Sync + 'static> Drive<S> {
    /// An instance that this worker has, or is about to have.
    pub(super) fn new(
        inner: &Arc<Inner<S>>,
        known: Known<S>,
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
            requested: Arc::new(Notify::new()),
        }
    }

    /// Goes on with the instance until it ends, stands still, waits, or is lost.
    pub(super) fn spawn(self, permit: OwnedSemaphorePermit) {
        let mut drive = self;
        let (inner, id) = (Arc::clone(&drive.inner), drive.id.to_string());
        let requested = Arc::clone(&drive.requested);
        let (there, gone) = watch::channel(());
        // Locked, so that a task which ends at once finds itself there.
        let mut here = inner.here();
        let task = tokio::spawn(async move {
            if let Err(error) = drive.run().await {
                alert(&drive.id, "", "the saga cannot go on here", &error.to_string());
                drive.inner.lost_an_answer();
            }
            let mut here = drive.inner.here();
            if here.get(&*drive.id).is_some_and(|here| Arc::ptr_eq(&here.requested, &drive.requested)) {
                here.remove(&*drive.id);
            }
            drop(here);
            drop((permit, there));
        });
        here.insert(id, Here { task: task.abort_handle(), requested, gone });
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
                // What has ended goes first: most often it is that, and then nothing else need be looked at.
                biased;
                Some(settled) = self.tasks.join_next() => {
                    // The task catches panics, and nobody aborts it while this is polled.
                    let (tried, answer) = settled?;
                    self.settle(tried, answer);
                }
                () = due => {}
                () = self.requested.notified() => self.reload().await?,
                _ = stopping.changed() => {}
            }
        }
    }

    /// Journals the plan and begins its attempts; false if the instance is not what the plan was made for.
    async fn carry_out(&mut self, plan: Plan) -> Result<bool, BoxError> {
        let Plan { mut records, settled, then, attempts, .. } = plan;
        if records.is_empty() && then == Then::Continue {
            return Ok(true);
        }
        let appended = self.inner.append(&self.id, self.cursor, &records, then).await?;
        if !matches!(appended, Appended::At(_)) {
            self.prepared.conflicted();
            // What has happened is told again behind what the instance is then.
            records.truncate(settled);
            self.settled = records;
            let fenced = Outcome::error("fenced");
            attempts.into_iter().for_each(|attempt| Telemetry::not_made(attempt.operation, &fenced));
        } else {
            self.begin(attempts);
        }
        match appended {
            Appended::At(cursor) => self.cursor = cursor,
            Appended::Moved(state, cursor) => {
                (self.state, self.cursor) = (Arc::new(state), cursor);
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

    /// Begins attempts whose intents are in the journal.
    pub(super) fn begin(&mut self, attempts: Vec<Planned>) {
        for Planned { tried, attempt, mut operation } in attempts {
            Telemetry::made(&mut operation);
            let (cancel, cancelled) = watch::channel(false);
            self.running.insert(tried, cancel);
            if attempt > 1 {
                self.prepared.retried(tried.0);
            }
            let made = Made {
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

    /// Somebody has appended a request.
    async fn reload(&mut self) -> Result<(), BoxError> {
        // A journal that does not answer will tell at the next append.
        if let Ok(Some(loaded)) = self.inner.journal.load(&self.id).await
            && loaded.header.epoch == self.cursor.epoch
        {
            (self.state, self.cursor) = (Arc::new(read(&loaded)?), loaded.header.cursor());
        }
        Ok(())
    }

    /// What the attempt's end means to the journal.
    fn settle(&mut self, tried: Try, answer: Result<Value, StepError>) {
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
        self.settled.push(Record::Failed { step, phase, error: text.clone(), retry_at, gave_up });
        if error.kind() == Kind::Data {
            alert(&self.id, &shape.name, "the journal's data do not fit the definition", &text);
            self.settled.push(Record::Parked { reason: format!("step `{}`: {text}", shape.name) });
        }
    }

    /// Whether no attempt of this is made any more at this time, after those that were.
    pub(super) fn gives_up(&self, (step, phase): Try, at: u64) -> bool {
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
