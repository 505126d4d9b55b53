//! `next`: the commands for a saga in a given state.
//!
//! Follows `docs/sagas.md`, "Order of steps and the pivot": stages run forward one after the other, or backward,
//! undoing each step that may have had an effect; an uncertain pivot is asked again.

use super::record::{End, Phase, StepKind};
use super::state::{State, Verdict};

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
    /// Park the saga: a step that can only be retried forward was refused.
    Park {
        /// Number of the step.
        step: u16,
    },
    /// End the saga: no step is left.
    Finish(End),
}

/// Returns the next commands; none for a saga that has ended or is parked. A running attempt appears as the attempt
/// that would follow it, because the state does not know which attempts are running; the caller skips these.
#[must_use]
pub fn next(state: &State) -> Vec<Command> {
    if state.ended.is_some() || state.parked.is_some() {
        return Vec::new();
    }
    let aborting = state.is_aborting();
    let mut stages: Vec<u16> = state.started.steps.iter().map(|shape| shape.stage).collect();
    stages.dedup();
    if aborting {
        stages.reverse();
    }
    for stage in stages {
        let commands = if aborting { undo(state, stage) } else { go_on(state, stage) };
        if !commands.is_empty() {
            return commands;
        }
    }
    vec![Command::Finish(if aborting { End::Compensated } else { End::Completed })]
}

/// The commands of a stage that runs forward; none if the stage is complete.
fn go_on(state: &State, stage: u16) -> Vec<Command> {
    let open =
        in_stage(state, stage).filter_map(|step| match state.steps.get(usize::from(step))?.action.verdict {
            Some(Verdict::Done(_)) => None,
            Some(_) => Some(Command::Park { step }),
            None => attempt(state, step, Phase::Action),
        });
    open.collect()
}

/// The commands of a stage that runs backward; none if nothing in it is left to undo.
fn undo(state: &State, stage: u16) -> Vec<Command> {
    let stands = in_stage(state, stage).filter(|step| {
        let index = usize::from(*step);
        let kind = state.started.steps.get(index).map(|shape| shape.kind);
        kind == Some(StepKind::Compensatable) && state.steps.get(index).is_some_and(|step| step.may_stand())
    });
    stands.filter_map(|step| attempt(state, step, Phase::Compensation)).collect()
}

fn in_stage(state: &State, stage: u16) -> impl Iterator<Item = u16> {
    let shapes = (0_u16..).zip(&state.started.steps);
    shapes.filter(move |(_, shape)| shape.stage == stage).map(|(step, _)| step)
}

fn attempt(state: &State, step: u16, phase: Phase) -> Option<Command> {
    let side = state.steps.get(usize::from(step))?.side(phase);
    Some(Command::Attempt {
        step,
        phase,
        attempt: side.attempts.saturating_add(1),
        not_before: side.retry_at,
    })
}

#[cfg(test)]
mod tests;
