//! `next`: the commands for a saga in a given state.
//!
//! Follows `docs/sagas.md`, "Order of steps and the pivot": stages run forward one after the other, or backward,
//! undoing each step that may have had an effect; an uncertain pivot is asked again.

use super::record::{Phase, SagaOutcome};
use super::state::{PhaseOutcome, State};

/// A command to the runtime. The intent of an attempt is journaled before the attempt starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Start this attempt, unless an attempt of the step is running.
    Attempt {
        /// Number of the step.
        step: u16,
        /// Phase of the step.
        phase: Phase,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Earliest start, in milliseconds since the Unix epoch.
        not_before: u64,
    },
    /// Park the saga once no attempt is running.
    Park {
        /// The step that can only be retried forward and was refused; `None` if the parking was requested.
        step: Option<u16>,
    },
    /// End the saga: no step is left.
    Finish(SagaOutcome),
}

/// Returns the next commands; none for a saga that has ended or is parked. A running attempt appears as the attempt
/// that would follow it, because the state does not know which attempts are running; the caller skips these.
#[must_use]
pub fn next(state: &State) -> Vec<Command> {
    if state.ended.is_some() || state.parked.is_some() {
        return Vec::new();
    }
    if state.park_requested.is_some() {
        return vec![Command::Park { step: None }];
    }
    let (phase, outcome) = if state.is_aborting() {
        (Phase::Compensation, SagaOutcome::Compensated)
    } else {
        (Phase::Action, SagaOutcome::Completed)
    };
    let left = state.steps_in(state.stage()).filter(|(_, spec, step)| state.is_left(spec, step));
    let commands: Vec<Command> = left
        .map(|(number, _, step)| {
            let phase_state = step.phase_state(phase);
            // Only a forward step is left to be done although it was refused.
            if phase == Phase::Action && phase_state.outcome == Some(PhaseOutcome::Refused) {
                return Command::Park { step: Some(number) };
            }
            let attempt = phase_state.attempts.saturating_add(1);
            Command::Attempt { step: number, phase, attempt, not_before: phase_state.retry_at }
        })
        .collect();
    if commands.is_empty() { vec![Command::Finish(outcome)] } else { commands }
}

#[cfg(test)]
mod tests;
