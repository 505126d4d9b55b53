//! Drives one instance: journals the commands of the core, then carries them out.
//!
//! Follows `docs/sagas.md`, "Appends": an outcome and the intents that follow from it are one append.

mod compact;
mod outcome;
mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use otel_operation::Outcome;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::compact::COMPACT_EVERY;
pub(super) use self::outcome::{interrupted, open};
pub(super) use self::plan::{Plan, PlanInput, PlannedAttempt, plan};
use super::append::Appended;
use super::attempt::{AttemptKey, AttemptTask, EndedAttempt};
use super::slots::{Driven, InstanceSlots};
use super::{Inner, LocalInstance, RegisteredSaga};
use crate::admin::read;
use crate::definition::Definition;
use crate::error::{BoxError, StepError, Text};
use crate::flow::{Phase, Record, SagaOutcome, State};
use crate::journal::{AfterAppend, Cursor, now};
use crate::telemetry::{AttemptOperation, AttemptSpan, Prepared, Telemetry, alert, hexadecimal, parent};

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
    tasks: JoinSet<EndedAttempt>,
    /// Outcomes that are not in the journal yet.
    pub(super) outcomes: Vec<Record>,
    /// True if a wait was shortened. The journal has the longer one, so that this wait takes place in memory.
    shortened: bool,
    /// True if the journal is to be compacted before the next append.
    compacts: bool,
    requested: Arc<Notify>,
    pub(super) slots: InstanceSlots,
    _driven: Driven,
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
            parent: parent(&state.started),
            state: Arc::new(state),
            cursor,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            outcomes: Vec::new(),
            shortened: false,
            compacts: false,
            requested: Arc::new(Notify::new()),
            _driven: Driven::new(&known.slots, &inner.driven),
            slots: InstanceSlots::new(known.slots),
        }
    }

    /// Spawns the task that drives the instance until it ends, is parked, waits in the journal, or is lost to another
    /// worker.
    pub(super) fn spawn(self) {
        let mut drive = self;
        let (inner, id) = (Arc::clone(&drive.inner), drive.id.to_string());
        let requested = Arc::clone(&drive.requested);
        let (driving, gone) = watch::channel(());
        // The lock is held while spawning, so that a task that ends at once finds its entry.
        let mut local = inner.local();
        let task = tokio::spawn(async move {
            if let Err(error) = drive.run().await {
                alert(&drive.id, "", "saga stopped on this worker", &*error);
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
            drop(driving);
        });
        local.insert(id, LocalInstance { task: task.abort_handle(), requested, gone });
    }

    async fn run(&mut self) -> Result<(), BoxError> {
        let mut stopping = self.inner.stopping.subscribe();
        loop {
            if std::mem::take(&mut self.compacts) {
                self.compact().await?;
            }
            let (plan, operations) = self.plan()?;
            let (wake, leaves, blocked) = (plan.wake, plan.leaves, plan.blocked);
            if !(self.carry_out(plan, operations).await?) {
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
            let slots = self.slots.shared();
            let slot = async {
                match blocked {
                    Some(step) => slots.acquire(step).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Ended attempts first: they are the most frequent event, and the others need not be polled then.
                biased;
                Some(ended) = self.tasks.join_next() => {
                    // The attempt's future catches panics, and its task is never aborted while this is polled.
                    let EndedAttempt { key, result, slot } = ended?;
                    self.end(key, result)?;
                    self.slots.extend(slot);
                }
                slot = slot => self.slots.extend(Some(slot)),
                () = due => {}
                () = self.requested.notified() => self.reload().await?,
                _ = stopping.changed() => {}
            }
        }
    }

    /// Plans the next append. Starts the spans of its attempts, because their intents contain the ids, and cancels
    /// attempts whose results are no longer needed.
    pub(super) fn plan(&mut self) -> Result<(Plan, Vec<AttemptOperation>), BoxError> {
        let input = PlanInput {
            definition: &*self.definition,
            running: &self.running,
            stopping: *self.inner.stopping.borrow(),
            shortened: self.shortened,
            now: now(),
            poll: self.inner.options.poll,
        };
        let outcomes = std::mem::take(&mut self.outcomes);
        let mut plan = plan(&mut self.state, outcomes, &mut self.slots, &input)?;
        self.slots.free();
        self.shortened = plan.shortened;
        if plan.cancels_actions {
            let actions = self.running.iter().filter(|((_, phase), _)| *phase == Phase::Action);
            actions.for_each(|(_, cancel)| _ = cancel.send_replace(true));
        }
        let mut operations = Vec::with_capacity(plan.attempts.len());
        for PlannedAttempt { key, attempt, intent, .. } in &plan.attempts {
            let operation = self.inner.telemetry.attempt(AttemptSpan {
                saga: &self.prepared,
                id: &self.id,
                parent: &self.parent,
                key: *key,
                attempt: *attempt,
            });
            if let Some(Record::Intent { span, .. }) = plan.records.get_mut(*intent) {
                // Only a span of its own has an id to journal; without an SDK the context holds the parent's span.
                let own = operation.recording();
                *span = own.map(|own| hexadecimal(own.span_context().span_id()));
            }
            operations.push(operation);
        }
        Ok((plan, operations))
    }

    /// Journals the plan and starts its attempts. Returns false if the instance has changed since it was planned.
    async fn carry_out(&mut self, plan: Plan, operations: Vec<AttemptOperation>) -> Result<bool, BoxError> {
        let Plan { mut records, outcomes, after_append, attempts, alerts, .. } = plan;
        if records.is_empty() && after_append == AfterAppend::Continue {
            return Ok(true);
        }
        let appended = self.inner.append(&self.id, self.cursor, &records, after_append).await?;
        if !matches!(appended, Appended::At(_)) {
            self.prepared.conflicted();
            // The outcomes are planned again on top of the new state.
            records.truncate(outcomes);
            self.outcomes = records;
            let fenced = Outcome::error("fenced");
            operations.into_iter().for_each(|operation| Telemetry::not_made(operation, &fenced));
        } else {
            alerts
                .iter()
                .for_each(|raised| alert(&self.id, &raised.step, raised.event, &Text(&raised.error)));
            self.begin(attempts, operations);
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
        if let AfterAppend::Finished(_) = after_append {
            self.ended();
        }
        Ok(true)
    }

    /// Starts attempts whose intents are in the journal.
    pub(super) fn begin(&mut self, attempts: Vec<PlannedAttempt>, operations: Vec<AttemptOperation>) {
        for (PlannedAttempt { key, attempt, slot, .. }, mut operation) in attempts.into_iter().zip(operations)
        {
            Telemetry::made(&mut operation);
            let (cancel, cancelled) = watch::channel(false);
            self.running.insert(key, cancel);
            if attempt > 1 {
                self.prepared.retried(key.0);
            }
            let task = AttemptTask {
                definition: Arc::clone(&self.definition),
                shared: Arc::clone(&self.inner.state),
                state: Arc::clone(&self.state),
                id: Arc::clone(&self.id),
                key,
                attempt,
                cancelled,
                operation,
                slot,
            };
            self.tasks.spawn(task.run());
        }
    }

    /// Reloads the instance after a request was appended.
    async fn reload(&mut self) -> Result<(), BoxError> {
        // An unavailable journal is noticed at the next append.
        if let Ok(Some(loaded)) = self.inner.journal.load(&self.id).await
            && loaded.summary.epoch == self.cursor.epoch
        {
            (self.state, self.cursor) = (Arc::new(read(&loaded)?), loaded.summary.cursor());
        }
        Ok(())
    }

    /// Turns the result of an attempt into records.
    fn end(&mut self, key: AttemptKey, result: Result<Value, StepError>) -> Result<(), BoxError> {
        self.running.remove(&key);
        let failures = self.state.step(key.0)?.phase_state(key.1).failures;
        self.compacts |= failures > 0 && failures.is_multiple_of(COMPACT_EVERY);
        let outcome = outcome::ended(&self.definition, &self.state, &self.id, key, result, now())?;
        self.add(outcome);
        Ok(())
    }

    /// Adds records for the next plan, and raises alerts.
    pub(super) fn add(&mut self, outcome: outcome::Outcome) {
        outcome
            .alerts
            .iter()
            .for_each(|raised| alert(&self.id, &raised.step, raised.event, &Text(&raised.error)));
        self.outcomes.extend(outcome.records);
    }

    fn ended(&self) {
        let Some(end) = self.state.ended else { return };
        let elapsed = Duration::from_millis(now().saturating_sub(self.state.started.at));
        let outcome = match end {
            SagaOutcome::Completed => "completed",
            SagaOutcome::Compensated => "compensated",
        };
        self.prepared.ended(outcome, elapsed);
    }
}
