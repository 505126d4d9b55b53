//! Plans the next append of an instance: the core's commands, filtered by time and by the running attempts.
//!
//! Follows `docs/sagas.md`, "Pure core": the core has no clock, so that due times and deadlines are applied here. A plan
//! only depends on its arguments, and its consequences are values that the driver carries out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::outcome::{Alert, is_late};
use crate::definition::Definition;
use crate::error::BoxError;
use crate::flow::{Command, FoldError, Phase, Record, State, next};
use crate::journal::{AfterAppend, millis};
use crate::runtime::attempt::AttemptKey;
use crate::runtime::slots::{InstanceSlots, Slot};

/// The facts that a plan depends on, besides the state of the instance.
pub(in crate::runtime) struct PlanInput<'d, S> {
    pub(in crate::runtime) definition: &'d Definition<S>,
    /// The running attempts.
    pub(in crate::runtime) running: &'d HashMap<AttemptKey, watch::Sender<bool>>,
    /// True if no attempt may start, because the runtime is shutting down.
    pub(in crate::runtime) stopping: bool,
    /// True if a wait was shortened. The journal has the longer one, so that this wait takes place in memory.
    pub(in crate::runtime) shortened: bool,
    /// The time in milliseconds since the Unix epoch.
    pub(in crate::runtime) now: u64,
    /// The longest wait that takes place in memory.
    pub(in crate::runtime) poll: Duration,
}

/// The next append and its consequences.
pub(in crate::runtime) struct Plan {
    /// The records to append, outcomes first.
    pub(in crate::runtime) records: Vec<Record>,
    /// The number of outcomes among the records.
    pub(in crate::runtime) outcomes: usize,
    pub(in crate::runtime) after_append: AfterAppend,
    /// The attempts to start once the records are in the journal.
    pub(in crate::runtime) attempts: Vec<PlannedAttempt>,
    /// The alerts to raise once the records are in the journal.
    pub(in crate::runtime) alerts: Vec<Alert>,
    /// True if the results of running actions are no longer needed.
    pub(in crate::runtime) cancels_actions: bool,
    /// True if a wait was shortened, by this plan or by an earlier one.
    pub(in crate::runtime) shortened: bool,
    /// The earliest due time of a waiting attempt, in milliseconds since the Unix epoch.
    pub(in crate::runtime) wake: Option<u64>,
    /// A step whose attempt waits for a slot. Its intent is journaled when it has one, because its deadline starts with
    /// the first intent, and an attempt that never started must not count as interrupted.
    pub(in crate::runtime) blocked: Option<u16>,
    /// True if this worker stops driving the instance after the append.
    pub(in crate::runtime) leaves: bool,
}

/// An attempt whose intent is in the plan.
pub(in crate::runtime) struct PlannedAttempt {
    pub(in crate::runtime) key: AttemptKey,
    pub(in crate::runtime) attempt: u32,
    /// The position of the intent among the records.
    pub(in crate::runtime) intent: usize,
    pub(in crate::runtime) slot: Slot,
}

impl Plan {
    fn push(&mut self, state: &mut State, record: Record) -> Result<(), FoldError> {
        state.apply(self.records.len() + 1, &record)?;
        self.records.push(record);
        Ok(())
    }
}

/// Plans the next append after these outcomes, and applies its records to the state. Each planned attempt takes a slot.
pub(in crate::runtime) fn plan<S>(
    state: &mut Arc<State>,
    outcomes: Vec<Record>,
    slots: &mut InstanceSlots,
    input: &PlanInput<'_, S>,
) -> Result<Plan, BoxError> {
    let mut plan = Plan {
        records: Vec::with_capacity(outcomes.len() + 1),
        outcomes: outcomes.len(),
        after_append: AfterAppend::Continue,
        attempts: Vec::new(),
        alerts: Vec::new(),
        cancels_actions: false,
        shortened: input.shortened,
        wake: None,
        blocked: None,
        leaves: false,
    };
    // Attempts release their references to the state before they run, so that this rarely copies it.
    let state = Arc::make_mut(state);
    for record in outcomes {
        plan.push(state, record)?;
    }
    give_up(state, input, &mut plan)?;
    plan.cancels_actions = state.is_aborting();
    let idle = input.running.is_empty();
    for command in next(state) {
        match command {
            Command::Attempt { step, phase, attempt, not_before } if !input.stopping => {
                // A step is not undone while its action runs on this worker, because both calls would reach the
                // participant at the same time.
                let busy = input.running.contains_key(&(step, phase))
                    || input.running.contains_key(&(step, Phase::Action));
                if busy {
                    continue;
                }
                if not_before > input.now {
                    let until = shorten(state, input, &mut plan, (step, phase), not_before)?;
                    plan.wake = Some(plan.wake.map_or(until, |wake| wake.min(until)));
                    continue;
                }
                let Some(slot) = slots.take(step) else {
                    plan.blocked = Some(step);
                    continue;
                };
                let (key, intent) = ((step, phase), plan.records.len());
                plan.push(state, Record::Intent { step, phase, attempt, at: input.now, span: None })?;
                plan.attempts.push(PlannedAttempt { key, attempt, intent, slot });
                plan.shortened = false;
            }
            Command::Park { step } if idle && plan.attempts.is_empty() => {
                let reason = match step {
                    Some(step) => refusal(state, &mut plan, step)?,
                    None => state.park_requested.clone().unwrap_or_default(),
                };
                plan.push(state, Record::Parked { reason })?;
                break;
            }
            Command::Finish(outcome) if idle => {
                plan.push(state, Record::Ended { outcome })?;
                plan.after_append = AfterAppend::Finished(outcome);
            }
            Command::Attempt { .. } | Command::Park { .. } | Command::Finish(_) => {}
        }
    }
    leave(state, input, &mut plan);
    Ok(plan)
}

/// Gives up steps whose deadline has passed while they waited.
fn give_up<S>(state: &mut State, input: &PlanInput<'_, S>, plan: &mut Plan) -> Result<(), BoxError> {
    for command in next(state) {
        let Command::Attempt { step, phase, .. } = command else { continue };
        let phase_state = state.step(step)?.phase_state(phase);
        let begun = phase_state.attempts > 0 && !input.running.contains_key(&(step, phase));
        if begun && is_late(input.definition, phase_state, (step, phase), input.now)? {
            let error = "no further attempt may be made".to_owned();
            let retry_at = input.now;
            plan.push(state, Record::Failed { step, phase, error, retry_at, gave_up: true, wait: None })?;
        }
    }
    Ok(())
}

/// Limits a wait to the longest one of the policy, or to the one that the step asked for, and returns its end. A
/// longer one was written by a clock that was ahead.
fn shorten<S>(
    state: &mut State,
    input: &PlanInput<'_, S>,
    plan: &mut Plan,
    (step, phase): AttemptKey,
    until: u64,
) -> Result<u64, BoxError> {
    let longest = millis(input.definition.step(step)?.policy.retry.longest());
    let phase_state = state.phase_state_mut(step, phase)?;
    let latest = input.now.saturating_add(phase_state.wait.map_or(longest, |wait| wait.max(longest)));
    if until <= latest {
        return Ok(until);
    }
    phase_state.retry_at = latest;
    plan.shortened = true;
    Ok(latest)
}

/// Returns the reason for which the refusal of this forward step parks the saga.
fn refusal(state: &State, plan: &mut Plan, step: u16) -> Result<String, BoxError> {
    let name = state.spec(step)?.name.clone();
    let error = state.step(step)?.action.error.clone().unwrap_or_default();
    let reason = format!("step `{name}` was refused: {error}");
    plan.alerts.push(Alert { step: name, event: "a step was refused where there is only forward", error });
    Ok(reason)
}

/// Decides if this worker stops driving the instance, and the ownership afterwards.
fn leave<S>(state: &State, input: &PlanInput<'_, S>, plan: &mut Plan) {
    if state.parked.is_some() {
        // A journal of an earlier version can have outcomes after the parking, so that its attempts may still run.
        plan.after_append = if plan.records.is_empty() { AfterAppend::Continue } else { AfterAppend::Parked };
        plan.leaves = input.running.is_empty();
        return;
    }
    if state.ended.is_some() {
        plan.leaves = true;
        return;
    }
    if !(input.running.is_empty() && plan.attempts.is_empty()) {
        return;
    }
    let waits = plan.wake.filter(|wake| *wake > input.now.saturating_add(millis(input.poll)));
    if input.stopping || (waits.is_some() && !plan.shortened && plan.blocked.is_none()) {
        plan.after_append = AfterAppend::Runnable { at: waits.unwrap_or(input.now) };
        plan.leaves = true;
    }
}
