//! The transitions of a saga: a record that cannot follow those before it is refused.
//!
//! Follows `docs/sagas.md`, "Records": an impossible record means that the journal is damaged, or that another program
//! wrote to it, and a guess could do a step twice.

use serde_json::Value;

use super::next::{Command, next};
use super::record::{Phase, Record, Resolution, StepKind};
use super::state::{NoSuchStep, PhaseOutcome, PhaseState, State};

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
    /// The steps of the first record are not in the order of their stages, or too many.
    #[error("the steps of the saga are not in the order of their stages")]
    Steps,
    /// A record refers to a step that the saga does not have.
    #[error("record {index} refers to step {step}, which the saga does not have")]
    NoSuchStep {
        /// Position of the record, from 0.
        index: usize,
        /// Number of the step.
        step: u16,
    },
    /// A record cannot follow those before it.
    #[error("record {index} cannot follow those before it: {reason}")]
    Impossible {
        /// Position of the record, from 0.
        index: usize,
        /// The reason.
        reason: Impossible,
    },
}

/// The reason for which a record cannot follow those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Impossible {
    /// The saga has ended.
    #[error("the saga has ended")]
    AfterEnd,
    /// The saga ends with steps that are left.
    #[error("steps are left, so that the saga cannot end like this")]
    StepsLeft,
    /// An attempt starts while the saga is parked, or while a parking is requested.
    #[error("the saga is parked, or is to be")]
    Parked,
    /// An outcome without a running attempt.
    #[error("no attempt is running")]
    NoAttempt,
    /// An attempt with another number than the next one.
    #[error("the attempt has another number than the next one")]
    AttemptNumber,
    /// An attempt of a step whose outcome is final.
    #[error("the outcome of the step is final")]
    Decided,
    /// An attempt of a step in another stage than that of the saga, or in the other direction.
    #[error("it is not the turn of the step")]
    NotItsTurn,
    /// An operator stated the outcome of a step of a saga that is not parked.
    #[error("the saga is not parked")]
    NotParked,
    /// An operator stated an outcome that the step cannot have.
    #[error("the step cannot have this outcome now")]
    Resolution,
}

/// The reason without the position of the record.
enum Fault {
    Step(NoSuchStep),
    Impossible(Impossible),
}

impl From<NoSuchStep> for Fault {
    fn from(error: NoSuchStep) -> Self {
        Self::Step(error)
    }
}

impl From<Impossible> for Fault {
    fn from(reason: Impossible) -> Self {
        Self::Impossible(reason)
    }
}

/// Returns an error for this reason unless the condition holds.
fn require(holds: bool, reason: Impossible) -> Result<(), Impossible> {
    if holds { Ok(()) } else { Err(reason) }
}

impl PhaseState {
    /// Ends the running attempt with a final outcome.
    fn decide(&mut self, outcome: PhaseOutcome) -> Result<(), Impossible> {
        require(self.open, Impossible::NoAttempt)?;
        (self.open, self.interruptions) = (false, 0);
        self.outcome = Some(outcome);
        Ok(())
    }

    /// Ends the running attempt without an outcome.
    fn interrupt(&mut self) {
        (self.open, self.uncertain) = (false, true);
        self.interruptions += 1;
    }

    /// Sets the earliest start of the next attempt.
    fn retry(&mut self, at: u64, wait: Option<u64>) {
        let requested = std::mem::take(&mut self.retry_requested);
        (self.retry_at, self.wait) = if requested { (0, None) } else { (at, wait) };
    }
}

impl State {
    /// Applies one more record; `index` is its position, for the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the record cannot follow those before it. The state is then not to be used any more.
    pub fn apply(&mut self, index: usize, record: &Record) -> Result<(), FoldError> {
        if matches!(record, Record::Started(_)) {
            return Err(FoldError::OutOfPlace { index });
        }
        self.transit(record).map_err(|fault| match fault {
            Fault::Step(NoSuchStep { step, .. }) => FoldError::NoSuchStep { index, step },
            Fault::Impossible(reason) => FoldError::Impossible { index, reason },
        })
    }

    fn transit(&mut self, record: &Record) -> Result<(), Fault> {
        require(self.ended.is_none(), Impossible::AfterEnd)?;
        match record {
            // Refused by the caller.
            Record::Started(_) => {}
            Record::Intent { step, phase, attempt, at, span } => {
                self.may_begin(*step, *phase)?;
                if *phase == Phase::Compensation && self.step(*step)?.action.open {
                    // Earlier versions did not journal the interruption of an action that is undone.
                    self.phase_state_mut(*step, Phase::Action)?.interrupt();
                }
                let phase_state = self.phase_state_mut(*step, *phase)?;
                require(*attempt == phase_state.attempts + 1, Impossible::AttemptNumber)?;
                if phase_state.open {
                    // Earlier versions did not journal an interruption before the next attempt.
                    phase_state.interrupt();
                }
                if phase_state.attempts == 0 {
                    phase_state.first_at = *at;
                }
                phase_state.attempts = *attempt;
                phase_state.open = true;
                phase_state.last_at = *at;
                phase_state.last_span.clone_from(span);
            }
            Record::Done { step, output } => {
                self.phase_state_mut(*step, Phase::Action)?.decide(PhaseOutcome::Done(output.clone()))?;
                self.proceed();
            }
            Record::Refused { step, error } => {
                let phase_state = self.phase_state_mut(*step, Phase::Action)?;
                phase_state.decide(PhaseOutcome::Refused)?;
                phase_state.error = Some(error.clone());
                self.refused(*step)?;
            }
            Record::Failed { step, phase, error, retry_at, gave_up, wait } => {
                let gives_up =
                    *gave_up && *phase == Phase::Action && self.spec(*step)?.kind == StepKind::Compensatable;
                let phase_state = self.phase_state_mut(*step, *phase)?;
                // A step whose time has passed is given up between two attempts.
                let waits = gives_up && phase_state.attempts > 0 && phase_state.outcome.is_none();
                require(phase_state.open || waits, Impossible::NoAttempt)?;
                phase_state.failures += u32::from(phase_state.open);
                (phase_state.open, phase_state.interruptions, phase_state.uncertain) = (false, 0, true);
                phase_state.error = Some(error.clone());
                phase_state.retry(*retry_at, *wait);
                if gives_up {
                    phase_state.outcome = Some(PhaseOutcome::GaveUp);
                    self.abort();
                    self.proceed();
                }
            }
            Record::Interrupted { step, phase, retry_at } => {
                let phase_state = self.phase_state_mut(*step, *phase)?;
                require(phase_state.open, Impossible::NoAttempt)?;
                phase_state.interrupt();
                phase_state.retry(*retry_at, None);
            }
            Record::Compacted { step, phase, first, last, failures } => {
                self.may_begin(*step, *phase)?;
                let phase_state = self.phase_state_mut(*step, *phase)?;
                let follows =
                    phase_state.attempts > 0 && !phase_state.open && *first == phase_state.attempts + 1;
                // The difference is the number of attempts less one.
                let fits = last.checked_sub(*first).is_some_and(|more| failures.saturating_sub(1) <= more);
                require(follows && fits, Impossible::AttemptNumber)?;
                phase_state.attempts = *last;
                phase_state.failures += failures;
            }
            Record::Undone { step } => {
                self.phase_state_mut(*step, Phase::Compensation)?.decide(PhaseOutcome::Done(Value::Null))?;
                self.proceed();
            }
            Record::CancelRequested => {
                self.cancel_requested = true;
                if !self.pivot_has_begun() {
                    self.abort();
                    self.proceed();
                }
            }
            Record::ParkRequested { reason } => self.park_requested = Some(reason.clone()),
            Record::Parked { reason } => {
                self.park_requested = None;
                self.parked = Some(reason.clone());
            }
            Record::Unparked => self.unpark(),
            Record::Resolved { step, resolution, .. } => self.resolve(*step, resolution)?,
            Record::Ended { outcome } => {
                require(next(self) == [Command::Finish(*outcome)], Impossible::StepsLeft)?;
                self.ended = Some(*outcome);
            }
        }
        Ok(())
    }

    /// Checks that an attempt may start.
    fn may_begin(&self, step: u16, phase: Phase) -> Result<(), Fault> {
        require(self.parked.is_none() && self.park_requested.is_none(), Impossible::Parked)?;
        let (spec, state) = (self.spec(step)?, self.step(step)?);
        require(state.phase_state(phase).outcome.is_none(), Impossible::Decided)?;
        let direction = (phase == Phase::Compensation) == self.aborting;
        let turn = direction && self.stage().contains(&usize::from(step)) && self.is_left(spec, state);
        Ok(require(turn, Impossible::NotItsTurn)?)
    }

    /// Undoes the saga after the refusal of a step; a forward step cannot be undone.
    fn refused(&mut self, step: u16) -> Result<(), NoSuchStep> {
        if self.spec(step)?.kind != StepKind::Forward {
            self.abort();
        }
        self.proceed();
        Ok(())
    }

    fn unpark(&mut self) {
        (self.parked, self.park_requested) = (None, None);
        for (spec, step) in self.started.steps.iter().zip(&mut self.steps) {
            for phase_state in [&mut step.action, &mut step.compensation] {
                (phase_state.retry_at, phase_state.wait, phase_state.interruptions) = (0, None, 0);
                phase_state.retry_requested = phase_state.open;
            }
            // The refusal of a forward step parked the saga. Unparking it means that the cause is removed, so that
            // the step is tried again.
            if spec.kind == StepKind::Forward && step.action.outcome == Some(PhaseOutcome::Refused) {
                step.action.outcome = None;
            }
        }
    }

    /// Sets the outcome that an operator stated. No attempt is running, because the saga is parked.
    fn resolve(&mut self, step: u16, resolution: &Resolution) -> Result<(), Fault> {
        require(self.parked.is_some(), Impossible::NotParked)?;
        let (kind, aborting) = (self.spec(step)?.kind, self.aborting);
        let state = self.step(step)?;
        let (begun, stands) = (state.action.attempts > 0, state.may_stand());
        let possible = match (resolution, &state.action.outcome) {
            (Resolution::Done(_), None | Some(PhaseOutcome::Done(_))) => {
                begun && state.compensation.outcome.is_none()
            }
            (Resolution::Done(_), Some(PhaseOutcome::Refused)) => kind == StepKind::Forward,
            (Resolution::Refused, None) => begun && kind != StepKind::Forward,
            (Resolution::Undone, _) => aborting && stands && kind == StepKind::Compensatable,
            _ => false,
        };
        require(possible, Impossible::Resolution)?;
        match resolution {
            Resolution::Done(output) => {
                let phase_state = self.phase_state_mut(step, Phase::Action)?;
                phase_state.open = false;
                phase_state.outcome = Some(PhaseOutcome::Done(output.clone()));
                self.proceed();
            }
            Resolution::Refused => {
                let phase_state = self.phase_state_mut(step, Phase::Action)?;
                // The operator states that no attempt had an effect.
                (phase_state.open, phase_state.uncertain) = (false, false);
                phase_state.outcome = Some(PhaseOutcome::Refused);
                self.refused(step)?;
            }
            Resolution::Undone => {
                let phase_state = self.phase_state_mut(step, Phase::Compensation)?;
                phase_state.open = false;
                phase_state.outcome = Some(PhaseOutcome::Done(Value::Null));
                self.proceed();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
