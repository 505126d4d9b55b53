//! Plans the next append of an instance: the core's commands, filtered by time and by the running attempts.
//!
//! Follows `docs/sagas.md`, "Pure core": the core has no clock, so that due times and deadlines are applied here.

use std::sync::Arc;

use super::InstanceDriver;
use crate::flow::{Command, FoldError, Phase, Record, State, next};
use crate::journal::{Then, millis, now};
use crate::runtime::attempt::AttemptKey;
use crate::telemetry::{AttemptOperation, AttemptSpan, alert, hexadecimal};

/// The next append and its consequences.
pub(in crate::runtime) struct Plan {
    /// The records to append, outcomes first.
    pub(in crate::runtime) records: Vec<Record>,
    /// The number of outcomes among the records.
    pub(in crate::runtime) settled: usize,
    pub(in crate::runtime) then: Then,
    /// The attempts to start once the records are in the journal.
    pub(in crate::runtime) attempts: Vec<PlannedAttempt>,
    /// The earliest due time of a waiting attempt, in milliseconds since the Unix epoch.
    pub(in crate::runtime) wake: Option<u64>,
    /// True if this worker stops driving the instance after the append.
    pub(in crate::runtime) leaves: bool,
}

/// An attempt whose intent is in the plan.
pub(in crate::runtime) struct PlannedAttempt {
    pub(in crate::runtime) tried: AttemptKey,
    pub(in crate::runtime) attempt: u32,
    pub(in crate::runtime) operation: AttemptOperation,
}

impl Plan {
    fn push(&mut self, state: &mut Arc<State>, record: Record) -> Result<(), FoldError> {
        Arc::make_mut(state).apply(self.records.len() + 1, &record)?;
        self.records.push(record);
        Ok(())
    }
}

/// Plans the next append, and applies its records to the state of `drive`.
pub(in crate::runtime) fn plan<S: Send + Sync + 'static>(
    drive: &mut InstanceDriver<S>,
) -> Result<Plan, FoldError> {
    let mut plan = Plan {
        records: Vec::with_capacity(drive.settled.len() + 1),
        settled: drive.settled.len(),
        then: Then::Continue,
        attempts: Vec::new(),
        wake: None,
        leaves: false,
    };
    for record in std::mem::take(&mut drive.settled) {
        plan.push(&mut drive.state, record)?;
    }
    give_up(drive, &mut plan)?;
    if drive.state.is_aborting() {
        let actions = drive.running.iter().filter(|((_, phase), _)| *phase == Phase::Action);
        actions.for_each(|(_, cancel)| _ = cancel.send_replace(true));
    }
    let stopping = *drive.inner.stopping.borrow();
    let idle = drive.running.is_empty();
    for command in next(&drive.state) {
        match command {
            Command::Attempt { step, phase, attempt, not_before } if !stopping => {
                // A step is not undone while its action runs on this worker, because both calls would reach the participant at
                // the same time.
                let busy = drive.running.contains_key(&(step, phase))
                    || drive.running.contains_key(&(step, Phase::Action));
                if busy {
                    continue;
                }
                if not_before > 0 && not_before > now() {
                    let not_before = shorten(drive, (step, phase), not_before);
                    plan.wake = Some(plan.wake.map_or(not_before, |wake| wake.min(not_before)));
                    continue;
                }
                begin(drive, &mut plan, (step, phase), attempt)?;
            }
            Command::Park { step: None } if idle => {
                let reason = drive.state.park_requested.clone().unwrap_or_default();
                plan.push(&mut drive.state, Record::Parked { reason })?;
                break;
            }
            Command::Park { step: Some(step) } if idle && plan.attempts.is_empty() => {
                let side = drive.state.steps.get(usize::from(step)).map(|step| &step.action);
                let error = side.and_then(|side| side.error.clone()).unwrap_or_default();
                let name = drive.definition.shapes.get(usize::from(step)).map_or("", |shape| &*shape.name);
                alert(&drive.id, name, "a step was refused where there is only forward", &error);
                plan.push(
                    &mut drive.state,
                    Record::Parked { reason: format!("step `{name}` was refused: {error}") },
                )?;
                break;
            }
            Command::Finish(end) if idle => {
                plan.push(&mut drive.state, Record::Ended { end })?;
                plan.then = Then::Finished(end);
            }
            Command::Attempt { .. } | Command::Park { .. } | Command::Finish(_) => {}
        }
    }
    leave(drive, &mut plan, stopping);
    Ok(plan)
}

/// Gives up steps that have used all of their attempts or passed their deadline by interruptions.
fn give_up<S: Send + Sync + 'static>(
    drive: &mut InstanceDriver<S>,
    plan: &mut Plan,
) -> Result<(), FoldError> {
    if plan.settled > 0 {
        // The attempts that have just ended were checked when they were settled.
        return Ok(());
    }
    for command in next(&drive.state) {
        let Command::Attempt { step, phase, .. } = command else { continue };
        if !drive.running.contains_key(&(step, phase)) && drive.gives_up((step, phase), now()) {
            let error = "no further attempt may be made".to_owned();
            let failed = Record::Failed { step, phase, error, retry_at: now(), gave_up: true, wait: None };
            plan.push(&mut drive.state, failed)?;
        }
    }
    Ok(())
}

/// Limits a wait to the longest one of the policy, and returns its end. A longer one was written by a clock that was
/// ahead.
fn shorten<S: Send + Sync + 'static>(
    drive: &mut InstanceDriver<S>,
    (step, phase): AttemptKey,
    until: u64,
) -> u64 {
    let index = usize::from(step);
    let Some(known) = drive.definition.steps.get(index) else { return until };
    let latest = now().saturating_add(millis(known.policy.retry.longest()));
    if until <= latest {
        return until;
    }
    if let Ok(side) = Arc::make_mut(&mut drive.state).side_mut(step, phase) {
        side.retry_at = latest;
        drive.shortened = true;
    }
    latest
}

fn begin<S: Send + Sync + 'static>(
    drive: &mut InstanceDriver<S>,
    plan: &mut Plan,
    tried: AttemptKey,
    attempt: u32,
) -> Result<(), FoldError> {
    let (step, phase) = tried;
    let operation = drive.inner.telemetry.attempt(AttemptSpan {
        saga: &drive.prepared,
        id: &drive.id,
        parent: &drive.parent,
        tried,
        attempt,
    });
    // Only a span of its own has an id to journal; without an SDK the context holds the parent's span.
    let span = operation.recording().map(|span| hexadecimal(span.span_context().span_id()));
    plan.push(&mut drive.state, Record::Intent { step, phase, attempt, at: now(), span })?;
    drive.shortened = false;
    plan.attempts.push(PlannedAttempt { tried, attempt, operation });
    Ok(())
}

/// Decides if this worker stops driving the instance, and the ownership afterwards.
fn leave<S: Send + Sync + 'static>(drive: &InstanceDriver<S>, plan: &mut Plan, stopping: bool) {
    let idle = drive.running.is_empty() && plan.attempts.is_empty();
    if drive.state.parked.is_some() {
        // A parked instance has no owner; the outcomes of attempts that still run are journaled nevertheless.
        plan.then = if plan.records.is_empty() { Then::Continue } else { Then::Parked };
        plan.leaves = idle;
        return;
    }
    if drive.state.ended.is_some() {
        plan.leaves = true;
        return;
    }
    if !idle {
        return;
    }
    let waits = plan.wake.filter(|wake| *wake > now().saturating_add(millis(drive.inner.options.poll)));
    if stopping || (waits.is_some() && !drive.shortened) {
        plan.then = Then::Runnable { at: waits.unwrap_or_else(now) };
        plan.leaves = true;
    }
}
