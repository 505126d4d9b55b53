//! `next`: what is to be done for a saga in this state.
//!
//! Follows `docs/sagas.md`, "Order of steps and the pivot": stages run forward one after the other, or backward,
//! undoing each step that may have had an effect; an uncertain pivot is asked again.

use super::record::{End, Phase, StepKind};
use super::state::{State, Verdict};

/// What the runtime is to do. It journals the intent of an attempt before it makes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Try this, if it is not being tried.
    Attempt {
        /// The step's number.
        step: u16,
        /// Whether it is done or undone.
        phase: Phase,
        /// The attempt's number, from 1.
        attempt: u32,
        /// Not before this time, in milliseconds since 1970.
        not_before: u64,
    },
    /// Let the saga stand still: this step was refused where there is only forward.
    Park {
        /// The step's number.
        step: u16,
    },
    /// Nothing is left to do.
    Finish(End),
}

/// What is to be done next. Nothing for a saga that has ended or is parked. Attempts that are under way are listed as
/// well, as those that come next: whoever makes them knows which these are.
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

/// What is still to be done of this stage.
fn go_on(state: &State, stage: u16) -> Vec<Command> {
    let open =
        in_stage(state, stage).filter_map(|step| match state.steps.get(usize::from(step))?.action.verdict {
            Some(Verdict::Done(_)) => None,
            Some(_) => Some(Command::Park { step }),
            None => attempt(state, step, Phase::Action),
        });
    open.collect()
}

/// What is still to be undone of this stage.
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
