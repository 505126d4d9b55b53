//! `fold`: what the records of a saga amount to.
//!
//! Follows `docs/sagas.md`, "Intent before action": an attempt whose outcome was not recorded is uncertain, and stays
//! so.

use serde_json::Value;

use super::record::{End, Phase, Record, Started, StepKind};

/// How the attempts of a step's action, or of its compensation, were decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It succeeded; an action with this output, a compensation with null.
    Done(Value),
    /// The participant refused.
    Refused,
    /// No further attempt is made; what the earlier ones did is unknown.
    GaveUp,
}

/// The attempts of a step's action, or of its compensation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Side {
    /// How many attempts were begun.
    pub attempts: u32,
    /// Whether the last attempt's outcome was not recorded: it is running, or was interrupted.
    pub open: bool,
    /// Whether an attempt ended without anybody knowing what it did.
    pub uncertain: bool,
    /// When the first attempt began, in milliseconds since 1970.
    pub first_at: u64,
    /// When the last attempt began.
    pub last_at: u64,
    /// The span of the last attempt.
    pub last_span: Option<String>,
    /// When the next attempt may begin.
    pub retry_at: u64,
    /// What the last failure said.
    pub error: Option<String>,
    /// How it was decided, if it was.
    pub verdict: Option<Verdict>,
}

impl Side {
    /// The output, if it succeeded.
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

/// A step's action and its compensation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StepState {
    /// Doing it.
    pub action: Side,
    /// Undoing it.
    pub compensation: Side,
}

impl StepState {
    /// The attempts of this phase.
    #[must_use]
    pub fn side(&self, phase: Phase) -> &Side {
        match phase {
            Phase::Action => &self.action,
            Phase::Compensation => &self.compensation,
        }
    }

    /// Whether the action had an effect, or may have had one, that was not undone.
    #[must_use]
    pub fn may_stand(&self) -> bool {
        let begun = self.action.attempts > 0;
        // A participant that refuses at once has done nothing. After an attempt of unknown outcome that is not known.
        let nothing = self.action.verdict == Some(Verdict::Refused) && !self.action.uncertain;
        begun && !nothing && self.compensation.verdict.is_none()
    }
}

/// What is known of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct State {
    /// How it began.
    pub started: Started,
    /// Its steps, in the order of their definition.
    pub steps: Vec<StepState>,
    /// Whether somebody asked for it to be undone.
    pub cancel_requested: bool,
    /// Why it stands still, if it does.
    pub parked: Option<String>,
    /// How it ended, if it has.
    pub ended: Option<End>,
}

/// Records that are those of no saga.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The first record does not begin a saga, or a later one does.
    #[error("record {index} is out of place: a saga begins with one `started`")]
    OutOfPlace {
        /// The record's place, from 0.
        index: usize,
    },
    /// A record speaks of a step that the saga does not have.
    #[error("record {index} speaks of step {step}, which the saga does not have")]
    NoSuchStep {
        /// The record's place, from 0.
        index: usize,
        /// The step's number.
        step: u16,
    },
}

/// What these records amount to.
///
/// # Errors
///
/// If they are not those of one saga.
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
    /// What is known of a saga that has just begun.
    pub(crate) fn begun(started: Started) -> Self {
        Self {
            steps: vec![StepState::default(); started.steps.len()],
            started,
            cancel_requested: false,
            parked: None,
            ended: None,
        }
    }

    /// Whether no attempt has been made a second time, and none has ended.
    pub(crate) fn has_only_begun(&self) -> bool {
        self.steps.iter().all(|step| {
            let action = &step.action;
            let undecided = action.verdict.is_none() && action.error.is_none();
            undecided && action.attempts <= 1 && step.compensation.attempts == 0
        })
    }

    /// Whether the saga is to be undone: a step was refused or given up, or it was cancelled in time.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        let mut pivot_begun = false;
        for (shape, step) in self.started.steps.iter().zip(&self.steps) {
            match (shape.kind, &step.action.verdict) {
                (StepKind::Compensatable, Some(Verdict::Refused | Verdict::GaveUp))
                | (StepKind::Pivot, Some(Verdict::Refused)) => return true,
                // What the pivot did may be unknown: it is asked again, and cancelling has to wait for its answer.
                (StepKind::Pivot, _) => pivot_begun |= step.action.attempts > 0,
                _ => {}
            }
        }
        self.cancel_requested && !pivot_begun
    }

    /// Applies one more record, the one at this place.
    pub(crate) fn apply(&mut self, index: usize, record: &Record) -> Result<(), FoldError> {
        match record {
            Record::Started(_) => return Err(FoldError::OutOfPlace { index }),
            Record::Intent { step, phase, attempt, at, span } => {
                let side = self.side(index, *step, *phase)?;
                // An intent after one without an outcome: that attempt was interrupted.
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
            // A forward step that was refused is what parks a saga; whoever lets it go on has seen to the reason.
            if shape.kind == StepKind::Forward && step.action.verdict == Some(Verdict::Refused) {
                step.action.verdict = None;
            }
        }
    }

    fn side(&mut self, index: usize, step: u16, phase: Phase) -> Result<&mut Side, FoldError> {
        let state = self.steps.get_mut(usize::from(step)).ok_or(FoldError::NoSuchStep { index, step })?;
        Ok(match phase {
            Phase::Action => &mut state.action,
            Phase::Compensation => &mut state.compensation,
        })
    }
}
