//! The operator: cancels, parks, unparks, and states outcomes that the participants cannot; and the interruptions that a
//! worker counts when it claims the instance.

use otel_saga::flow::{Phase, Record, Resolution, State, StepKind};
use serde_json::Value;

use super::faults::{INTERRUPTIONS, Without};
use super::world::{Situation, World};

/// A request of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Cancel,
    Park,
    Unpark,
    Resolve(u16, Resolution),
}

/// Returns the possible requests.
pub(super) fn requests(world: &World, now: &Situation) -> Vec<Request> {
    let Some(state) = &now.journal else { return Vec::new() };
    let (budget, mut requests) = (now.budget, Vec::new());
    requests.extend(budget.left(budget.cancels).then_some(Request::Cancel));
    let parked = state.parked.is_some();
    requests.extend((!parked && budget.left(budget.parks)).then_some(Request::Park));
    requests.extend((parked || state.park_requested.is_some()).then_some(Request::Unpark));
    if parked && budget.left(budget.resolutions) {
        for (step, (_, participant)) in (0_u16..).zip(world.kinds.iter().zip(&now.participants)) {
            // The operator looks at the participant first.
            let stands = participant.effects() > 0;
            let true_now = if stands { Resolution::Done(Value::Null) } else { Resolution::Refused };
            for resolution in [true_now, Resolution::Undone] {
                let possible = state.clone().apply(0, &resolved(step, &resolution)).is_ok();
                requests.extend(possible.then_some(Request::Resolve(step, resolution)));
            }
        }
    }
    requests
}

/// Carries out a request.
pub(super) fn carry_out(world: &World, now: &mut Situation, request: &Request) {
    match request {
        Request::Cancel => {
            now.budget.spend(|left| &mut left.cancels);
            now.request(&Record::CancelRequested);
        }
        Request::Park => {
            now.budget.spend(|left| &mut left.parks);
            let reason = String::new();
            if now.released || world.without == Without::OwnerParks {
                now.request(&Record::Parked { reason });
                now.released = true;
            } else {
                now.request(&Record::ParkRequested { reason });
            }
        }
        Request::Unpark => now.request(&Record::Unparked),
        Request::Resolve(step, resolution) => {
            now.budget.spend(|left| &mut left.resolutions);
            let participant = &mut now.participants[usize::from(*step)];
            match resolution {
                Resolution::Refused if world.without != Without::OperatorTombstone => participant.block(0),
                Resolution::Undone => participant.undo(0, true),
                _ => {}
            }
            now.request(&resolved(*step, resolution));
        }
    }
}

fn resolved(step: u16, resolution: &Resolution) -> Record {
    let (who, why) = (String::new(), String::new());
    Record::Resolved { step, resolution: resolution.clone(), who, why, at: 0 }
}

/// Returns the records of a worker that claims the instance: the interruption of each open attempt, and after the
/// limit the parking.
pub(super) fn interruptions(journal: Option<&State>, without: Without) -> Vec<Record> {
    let Some(state) = journal else { return Vec::new() };
    let mut records = Vec::new();
    for (step, (spec, phases)) in (0_u16..).zip(state.started.steps.iter().zip(&state.steps)) {
        for phase in [Phase::Action, Phase::Compensation] {
            let phase_state = phases.phase_state(phase);
            if !phase_state.open {
                continue;
            }
            let compensatable = spec.kind == StepKind::Compensatable && phase == Phase::Action;
            if without == Without::InterruptionsApart && compensatable {
                let (error, gave_up) = (String::new(), true);
                records.push(Record::Failed { step, phase, error, retry_at: 0, gave_up, wait: None });
                continue;
            }
            records.push(Record::Interrupted { step, phase, retry_at: 0 });
            if phase_state.interruptions + 1 >= INTERRUPTIONS && without != Without::InterruptionLimit {
                records.push(Record::ParkRequested { reason: String::new() });
            }
        }
    }
    records
}
