//! The state of a saga, which `fold` computes from its records.
//!
//! Follows `docs/sagas.md`, "Intent before action": an attempt whose outcome was not recorded is uncertain, and stays
//! so.

use std::ops::Range;

use serde_json::Value;

use super::apply::FoldError;
use super::record::{Phase, Record, SagaOutcome, Started, StepKind, StepSpec};

/// The final outcome of a step's action, or of its compensation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PhaseOutcome {
    /// It succeeded: an action with this output, a compensation with null.
    Done(Value),
    /// It was refused: the participant will not do it.
    Refused,
    /// No further attempt is made; the effect of the earlier ones is unknown.
    GaveUp,
}

/// The attempts of a step's action, or of its compensation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PhaseState {
    /// The number of attempts that have started.
    pub attempts: u32,
    /// The number of attempts that have failed. Only these use up the attempts of the retry policy.
    pub failures: u32,
    /// The number of attempts that were interrupted, since the last one with an outcome or since an operator
    /// unparked the saga.
    pub interruptions: u32,
    /// True if the last attempt has no recorded outcome: it is running, or was interrupted.
    pub open: bool,
    /// True if an attempt ended with an unknown effect.
    pub uncertain: bool,
    /// Start of the first attempt, in milliseconds since the Unix epoch.
    pub first_at: u64,
    /// Start of the last attempt, in milliseconds since the Unix epoch.
    pub last_at: u64,
    /// The span id of the last attempt.
    pub last_span: Option<String>,
    /// Earliest start of the next attempt, in milliseconds since the Unix epoch.
    pub retry_at: u64,
    /// The wait that the step asked for after its last failure, in milliseconds.
    pub wait: Option<u64>,
    /// True if an operator asked for the next attempt while one was running: it starts without a wait.
    pub retry_requested: bool,
    /// The text of the last error.
    pub error: Option<String>,
    /// The final outcome; `None` while the phase is undecided.
    pub outcome: Option<PhaseOutcome>,
}

impl PhaseState {
    /// Returns the output of a phase that succeeded.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        match &self.outcome {
            Some(PhaseOutcome::Done(output)) => Some(output),
            _ => None,
        }
    }
}

/// The state of a step: its action and its compensation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StepState {
    /// The attempts of the action.
    pub action: PhaseState,
    /// The attempts of the compensation.
    pub compensation: PhaseState,
}

impl StepState {
    /// Returns the attempts of this phase.
    #[must_use]
    pub fn phase_state(&self, phase: Phase) -> &PhaseState {
        match phase {
            Phase::Action => &self.action,
            Phase::Compensation => &self.compensation,
        }
    }

    pub(crate) fn phase_state_mut(&mut self, phase: Phase) -> &mut PhaseState {
        match phase {
            Phase::Action => &mut self.action,
            Phase::Compensation => &mut self.compensation,
        }
    }

    /// Returns true if the action had an effect, or may have had one, that was not undone.
    #[must_use]
    pub fn may_stand(&self) -> bool {
        let begun = self.action.attempts > 0;
        // A refusal states that nothing has happened, except for an earlier attempt with an unknown effect.
        let nothing = self.action.outcome == Some(PhaseOutcome::Refused) && !self.action.uncertain;
        begun && !nothing && self.compensation.outcome.is_none()
    }
}

/// A step number beyond the steps of the saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saga has no step number {step}")]
#[non_exhaustive]
pub struct NoSuchStep {
    /// Number of the step.
    pub step: u16,
}

impl NoSuchStep {
    pub(crate) fn new(step: u16) -> Self {
        Self { step }
    }
}

/// The state of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct State {
    /// The first record.
    pub started: Started,
    /// The states of the steps, in the order of their definition.
    pub steps: Vec<StepState>,
    /// True if a cancellation was requested.
    pub cancel_requested: bool,
    /// The reason, if a parking was requested and attempts may still be running.
    pub park_requested: Option<String>,
    /// The reason, if the saga is parked.
    pub parked: Option<String>,
    /// The outcome, if the saga has ended.
    pub ended: Option<SagaOutcome>,
    /// The number of steps, from the first one, that are in a complete stage. Kept with each record, so that neither
    /// a record nor `next` looks at all steps.
    pub(super) complete: usize,
    /// While the saga is undone: the number of steps, from the first one, that are in a stage before or at the last
    /// one that may stand.
    pub(super) standing: usize,
    pub(super) aborting: bool,
}

/// Computes the state of a saga from its records.
///
/// # Errors
///
/// Returns an error if the records do not form one saga, or if one of them cannot follow those before it.
pub fn fold<'r>(records: impl IntoIterator<Item = &'r Record>) -> Result<State, FoldError> {
    let mut records = records.into_iter().enumerate();
    let Some((_, Record::Started(started))) = records.next() else {
        return Err(FoldError::OutOfPlace { index: 0 });
    };
    let mut state = State::begun(started.clone())?;
    for (index, record) in records {
        state.apply(index, record)?;
    }
    Ok(state)
}

impl State {
    /// The state of a saga after its first record.
    pub(crate) fn begun(started: Started) -> Result<Self, FoldError> {
        let beyond = started.steps.len() > usize::from(u16::MAX);
        if beyond || !started.steps.is_sorted_by_key(|spec| spec.stage) {
            return Err(FoldError::Steps);
        }
        Ok(Self {
            steps: vec![StepState::default(); started.steps.len()],
            started,
            cancel_requested: false,
            park_requested: None,
            parked: None,
            ended: None,
            complete: 0,
            standing: 0,
            aborting: false,
        })
    }

    /// Returns true if no attempt has been repeated and none has ended.
    pub(crate) fn has_only_begun(&self) -> bool {
        self.steps.iter().all(|step| {
            let action = &step.action;
            let undecided = action.outcome.is_none() && action.error.is_none();
            undecided && action.attempts <= 1 && step.compensation.attempts == 0
        })
    }

    /// Returns true if the saga is to be undone: a step was refused or given up, or the saga was cancelled in time.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.aborting
    }

    /// Returns true if the pivot has begun, so that its effect may be unknown: it is asked again, and a cancellation
    /// waits for its outcome.
    #[must_use]
    pub fn pivot_has_begun(&self) -> bool {
        // The pivot is alone in its stage, and so in the first one that is not complete or before it.
        let after = self.stage_at(self.complete).end;
        let reached = self.started.steps.iter().zip(&self.steps).take(after);
        // From the end, because no step before the pivot is a forward step.
        let mut decisive = reached.rev().take_while(|(spec, _)| spec.kind != StepKind::Compensatable);
        decisive.any(|(spec, step)| spec.kind == StepKind::Pivot && step.action.attempts > 0)
    }

    /// Returns the state of a step.
    ///
    /// # Errors
    ///
    /// Returns an error if the saga does not have the step.
    pub fn step(&self, step: u16) -> Result<&StepState, NoSuchStep> {
        self.steps.get(usize::from(step)).ok_or(NoSuchStep { step })
    }

    /// Returns the spec of a step.
    ///
    /// # Errors
    ///
    /// Returns an error if the saga does not have the step.
    pub fn spec(&self, step: u16) -> Result<&StepSpec, NoSuchStep> {
        self.started.steps.get(usize::from(step)).ok_or(NoSuchStep { step })
    }

    pub(crate) fn phase_state_mut(&mut self, step: u16, phase: Phase) -> Result<&mut PhaseState, NoSuchStep> {
        let state = self.steps.get_mut(usize::from(step)).ok_or(NoSuchStep { step })?;
        Ok(state.phase_state_mut(phase))
    }

    /// Returns the steps of the stage in which the saga is: the first one that is not complete, or while the saga is
    /// undone the last one that may stand. Empty if there is none.
    pub(super) fn stage(&self) -> Range<usize> {
        if !self.aborting {
            return self.stage_at(self.complete);
        }
        let last = self.standing.checked_sub(1).and_then(|last| self.started.steps.get(last));
        let Some(last) = last else { return 0..0 };
        let before = self.started.steps.iter().take(self.standing).rev();
        let width = before.take_while(|spec| spec.stage == last.stage).count();
        self.standing - width..self.standing
    }

    /// Returns the steps of the stage that begins with this one.
    fn stage_at(&self, first: usize) -> Range<usize> {
        let rest = self.started.steps.get(first..).unwrap_or_default();
        let stage = rest.first().map(|spec| spec.stage);
        let width = rest.iter().take_while(|spec| Some(spec.stage) == stage).count();
        first..first + width
    }

    /// Returns the numbers, specs and states of these steps.
    pub(super) fn steps_in(&self, steps: Range<usize>) -> impl Iterator<Item = (u16, &StepSpec, &StepState)> {
        let specs = self.started.steps.get(steps.clone()).unwrap_or_default();
        let states = self.steps.get(steps.clone()).unwrap_or_default();
        // A saga has at most as many steps as a `u16` has values.
        let first = u16::try_from(steps.start).unwrap_or(u16::MAX);
        (first..).zip(specs.iter().zip(states)).map(|(number, (spec, step))| (number, spec, step))
    }

    /// Moves to the stage in which the saga is now.
    pub(super) fn proceed(&mut self) {
        loop {
            let stage = self.stage();
            if stage.is_empty()
                || self.steps_in(stage.clone()).any(|(_, spec, step)| self.is_left(spec, step))
            {
                return;
            }
            if self.aborting {
                self.standing = stage.start;
            } else {
                self.complete = stage.end;
            }
        }
    }

    /// Returns true if the step is still to be done, or while the saga is undone, to be undone.
    pub(super) fn is_left(&self, spec: &StepSpec, step: &StepState) -> bool {
        if self.aborting {
            spec.kind == StepKind::Compensatable && step.may_stand()
        } else {
            !matches!(step.action.outcome, Some(PhaseOutcome::Done(_)))
        }
    }

    /// Begins to undo the saga, from the stage that it has reached.
    pub(super) fn abort(&mut self) {
        if !self.aborting {
            self.standing = self.stage().end;
            self.aborting = true;
        }
    }
}
