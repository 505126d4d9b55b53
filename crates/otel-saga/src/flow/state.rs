//! `fold`: computes the state of a saga from its records.
//!
//! Follows `docs/sagas.md`, "Intent before action": an attempt whose outcome was not recorded is uncertain, and stays
//! so.

use serde_json::Value;

use super::record::{End, Phase, Record, Started, StepKind};

/// The final outcome of a step's action, or of its compensation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
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
pub struct Side {
    /// The number of attempts that have started.
    pub attempts: u32,
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
    /// The text of the last error.
    pub error: Option<String>,
    /// The final outcome; `None` while the phase is undecided.
    pub verdict: Option<Verdict>,
}

impl Side {
    /// Returns the output of a phase that succeeded.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        match &self.verdict {
            Some(Verdict::Done(output)) => Some(output),
            _ => None,
        }
    }

    fn failed(&mut self, error: &str) {
        self.open = false;
        self.error = Some(error.to_owned());
    }
}

/// The state of a step: its action and its compensation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StepState {
    /// The attempts of the action.
    pub action: Side,
    /// The attempts of the compensation.
    pub compensation: Side,
}

impl StepState {
    /// Returns the attempts of this phase.
    #[must_use]
    pub fn side(&self, phase: Phase) -> &Side {
        match phase {
            Phase::Action => &self.action,
            Phase::Compensation => &self.compensation,
        }
    }

    pub(crate) fn side_mut(&mut self, phase: Phase) -> &mut Side {
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
        let nothing = self.action.verdict == Some(Verdict::Refused) && !self.action.uncertain;
        begun && !nothing && self.compensation.verdict.is_none()
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
    /// The reason, if the saga is parked.
    pub parked: Option<String>,
    /// The outcome, if the saga has ended.
    pub ended: Option<End>,
}

/// Records that do not form one saga.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The first record does not start a saga, or a later one does.
    #[error("record {index} is out of place: a saga begins with one `started`")]
    OutOfPlace {
        /// Position of the record, from 0.
        index: usize,
    },
    /// A record refers to a step that the saga does not have.
    #[error("record {index} speaks of step {step}, which the saga does not have")]
    NoSuchStep {
        /// Position of the record, from 0.
        index: usize,
        /// Number of the step.
        step: u16,
    },
}

/// Computes the state of a saga from its records.
///
/// # Errors
///
/// Returns an error if the records do not form one saga.
pub fn fold<'r>(records: impl IntoIterator<Item = &'r Record>) -> Result<State, FoldError> {
    let mut records = records.into_iter().enumerate();
    let Some((_, Record::Started(started))) = records.next() else {
        return Err(FoldError::OutOfPlace { index: 0 });
    };
    let mut state = State::begun(started.clone());
    for (index, record) in records {
        state.apply(index, record)?;
    }
    Ok(state)
}

impl State {
    /// The state of a saga after its first record.
    pub(crate) fn begun(started: Started) -> Self {
        Self {
            steps: vec![StepState::default(); started.steps.len()],
            started,
            cancel_requested: false,
            parked: None,
            ended: None,
        }
    }

    /// Returns true if no attempt has been repeated and none has ended.
    pub(crate) fn has_only_begun(&self) -> bool {
        self.steps.iter().all(|step| {
            let action = &step.action;
            let undecided = action.verdict.is_none() && action.error.is_none();
            undecided && action.attempts <= 1 && step.compensation.attempts == 0
        })
    }

    /// Returns true if the saga is to be undone: a step was refused or given up, or the saga was cancelled in time.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        let mut pivot_begun = false;
        for (shape, step) in self.started.steps.iter().zip(&self.steps) {
            match (shape.kind, &step.action.verdict) {
                (StepKind::Compensatable, Some(Verdict::Refused | Verdict::GaveUp))
                | (StepKind::Pivot, Some(Verdict::Refused)) => return true,
                // The effect of a pivot that has begun may be unknown: it is asked again, and a cancellation waits
                // for its outcome.
                (StepKind::Pivot, _) => pivot_begun |= step.action.attempts > 0,
                _ => {}
            }
        }
        self.cancel_requested && !pivot_begun
    }

    /// Applies one more record; `index` is its position.
    pub(crate) fn apply(&mut self, index: usize, record: &Record) -> Result<(), FoldError> {
        match record {
            Record::Started(_) => return Err(FoldError::OutOfPlace { index }),
            Record::Intent { step, phase, attempt, at, span } => {
                let side = self.side(index, *step, *phase)?;
                // An intent after one without an outcome: the earlier attempt was interrupted.
                side.uncertain |= side.open;
                if side.attempts == 0 {
                    side.first_at = *at;
                }
                side.attempts = *attempt;
                side.open = true;
                side.last_at = *at;
                side.last_span.clone_from(span);
            }
            Record::Done { step, output } => {
                let side = self.side(index, *step, Phase::Action)?;
                side.open = false;
                side.verdict = Some(Verdict::Done(output.clone()));
            }
            Record::Refused { step, error } => {
                let side = self.side(index, *step, Phase::Action)?;
                side.failed(error);
                side.verdict = Some(Verdict::Refused);
            }
            Record::Failed { step, phase, error, retry_at, gave_up } => {
                let kind = self.started.steps.get(usize::from(*step)).map(|shape| shape.kind);
                let side = self.side(index, *step, *phase)?;
                side.failed(error);
                side.uncertain = true;
                side.retry_at = *retry_at;
                if *gave_up && *phase == Phase::Action && kind == Some(StepKind::Compensatable) {
                    side.verdict = Some(Verdict::GaveUp);
                }
            }
            Record::Undone { step } => {
                let side = self.side(index, *step, Phase::Compensation)?;
                side.open = false;
                side.verdict = Some(Verdict::Done(Value::Null));
            }
            Record::CancelRequested => self.cancel_requested = true,
            Record::Parked { reason } => self.parked = Some(reason.clone()),
            Record::Unparked => self.unpark(),
            Record::Ended { end } => self.ended = Some(*end),
        }
        Ok(())
    }

    fn unpark(&mut self) {
        self.parked = None;
        for (shape, step) in self.started.steps.iter().zip(&mut self.steps) {
            step.action.retry_at = 0;
            step.compensation.retry_at = 0;
            // The refusal of a forward step parked the saga. Unparking it means that the cause is removed, so that
            // the step is tried again.
            if shape.kind == StepKind::Forward && step.action.verdict == Some(Verdict::Refused) {
                step.action.verdict = None;
            }
        }
    }

    fn side(&mut self, index: usize, step: u16, phase: Phase) -> Result<&mut Side, FoldError> {
        let state = self.steps.get_mut(usize::from(step)).ok_or(FoldError::NoSuchStep { index, step })?;
        Ok(state.side_mut(phase))
    }
}
