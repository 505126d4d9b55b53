//! The records that follow from the result of an attempt, and from its interruption.
//!
//! Follows `docs/sagas.md`, "Retries and alerts": only failures use up the attempts of a step, and interruptions are
//! counted apart.

use serde_json::Value;

use crate::definition::Definition;
use crate::error::{Kind, StepError};
use crate::flow::{NoSuchStep, Phase, PhaseState, Record, State};
use crate::journal::millis;
use crate::runtime::attempt::AttemptKey;

/// An alert to raise for an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct Alert {
    /// The name of the step.
    pub(in crate::runtime) step: String,
    pub(in crate::runtime) event: &'static str,
    pub(in crate::runtime) error: String,
}

/// The records and alerts that follow from a result.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Outcome {
    pub(in crate::runtime) records: Vec<Record>,
    pub(in crate::runtime) alerts: Vec<Alert>,
}

impl Outcome {
    /// Requests the parking of the saga: it is parked when its other attempts have ended.
    fn park(&mut self, step: &str, event: &'static str, reason: String) {
        self.alerts.push(Alert { step: step.to_owned(), event, error: reason.clone() });
        self.records.push(Record::ParkRequested { reason });
    }
}

/// Returns the records that follow from the result of an attempt.
pub(super) fn ended<S>(
    definition: &Definition<S>,
    state: &State,
    id: &str,
    key: AttemptKey,
    result: Result<Value, StepError>,
    now: u64,
) -> Result<Outcome, NoSuchStep> {
    let mut outcome = Outcome::default();
    let (step, phase) = key;
    let error = match result {
        Ok(output) => {
            outcome.records.push(match phase {
                Phase::Action => Record::Done { step, output },
                Phase::Compensation => Record::Undone { step },
            });
            return Ok(outcome);
        }
        Err(error) => error,
    };
    let text = error.text();
    if error.kind() == Kind::Refused && phase == Phase::Action {
        outcome.records.push(Record::Refused { step, error: text });
        return Ok(outcome);
    }
    let (name, phase_state) = (&state.spec(step)?.name, state.step(step)?.phase_state(phase));
    let policy = &definition.step(step)?.policy.retry;
    let failures = phase_state.failures.saturating_add(1);
    let wait = error.wait().map(millis);
    let retry_at = now.saturating_add(wait.unwrap_or_else(|| millis(policy.delay(failures, id))));
    let gave_up = match error.kind() {
        Kind::Data => false,
        Kind::GaveUp => can_be_undone(definition, key)?,
        Kind::Refused | Kind::Uncertain => gives_up(definition, phase_state, key, failures, retry_at)?,
    };
    outcome.records.push(Record::Failed { step, phase, error: text.clone(), retry_at, gave_up, wait });
    match error.kind() {
        Kind::Data => {
            let reason = format!("step `{name}`: {text}");
            outcome.park(name, "the journal's data do not fit the definition", reason);
        }
        Kind::GaveUp if !gave_up => {
            let reason = format!("step `{name}` gave up: {text}");
            outcome.park(name, "a step that cannot be undone gave up", reason);
        }
        _ if failures >= policy.attempts() && !gave_up => outcome.alerts.push(Alert {
            step: name.clone(),
            event: "a step that cannot be given up keeps failing",
            error: text,
        }),
        _ => {}
    }
    Ok(outcome)
}

/// Returns the records that follow from the interruption of the attempts that are open in this state.
pub(in crate::runtime) fn interrupted<S>(
    definition: &Definition<S>,
    state: &State,
    id: &str,
    now: u64,
) -> Result<Outcome, NoSuchStep> {
    let mut outcome = Outcome::default();
    for (step, phase) in open(state) {
        let phase_state = state.step(step)?.phase_state(phase);
        let policy = &definition.step(step)?.policy.retry;
        // The first one follows from any restart, and is not waited for.
        let wait = if phase_state.interruptions == 0 {
            0
        } else {
            millis(policy.delay(phase_state.interruptions, id))
        };
        outcome.records.push(Record::Interrupted { step, phase, retry_at: now.saturating_add(wait) });
        let interruptions = phase_state.interruptions.saturating_add(1);
        // The action of a saga that is undone is not repeated.
        let repeats = !(state.is_aborting() && phase == Phase::Action);
        if interruptions >= policy.interruptions() && repeats {
            let name = &state.spec(step)?.name;
            let reason = format!("step `{name}`: {interruptions} attempts in succession were interrupted");
            outcome.park(name, "attempts of a step are interrupted again and again", reason);
        }
    }
    Ok(outcome)
}

/// Returns the attempts without an outcome.
pub(in crate::runtime) fn open(state: &State) -> impl Iterator<Item = AttemptKey> {
    let phases = (0_u16..).zip(&state.steps).flat_map(|(step, state)| {
        [Phase::Action, Phase::Compensation].map(|phase| (step, phase, state.phase_state(phase).open))
    });
    phases.filter(|(.., open)| *open).map(|(step, phase, _)| (step, phase))
}

/// Returns true if the step is to be given up: at this time, after this number of failures, no further attempt is
/// allowed.
fn gives_up<S>(
    definition: &Definition<S>,
    phase_state: &PhaseState,
    key: AttemptKey,
    failures: u32,
    at: u64,
) -> Result<bool, NoSuchStep> {
    let used_up = failures >= definition.step(key.0)?.policy.retry.attempts();
    Ok(is_late(definition, phase_state, key, at)? || (used_up && can_be_undone(definition, key)?))
}

/// Returns true if the step is to be given up because its deadline has passed at this time.
pub(super) fn is_late<S>(
    definition: &Definition<S>,
    phase_state: &PhaseState,
    key: AttemptKey,
    at: u64,
) -> Result<bool, NoSuchStep> {
    let deadline = definition.step(key.0)?.policy.deadline;
    let late = deadline.is_some_and(|limit| at > phase_state.first_at.saturating_add(millis(limit)));
    Ok(late && can_be_undone(definition, key)?)
}

/// Returns true for the action of a compensatable step.
fn can_be_undone<S>(definition: &Definition<S>, (step, phase): AttemptKey) -> Result<bool, NoSuchStep> {
    Ok(phase == Phase::Action && definition.step(step)?.undo.is_some())
}
