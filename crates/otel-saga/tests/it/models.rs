//! Model checking of small sagas: every order of crashes, lost and late outcomes, refusals, takeovers from a worker that
//! still runs, cancellations, giving up, parking, unparking, resolutions and compactions. All invariants hold, and
//! without any one protection one of them does not.

mod compaction;
mod faults;
mod operator;
mod participant;
mod world;

use otel_saga::flow::{Record, SagaOutcome, Started, StepKind, StepSpec, fold};
use serde_json::Value;
use stateright::{Checker, Model, Property};

use self::faults::{Budget, INTERRUPTIONS, Without};
use self::participant::Participant;
use self::world::{Situation, World};

const COMPLETED: &str = "a completed saga has done each step once";
const COMPENSATED: &str = "a compensated saga has left nothing behind";
const ONCE: &str = "no step is done twice";
const FORWARD_ONLY: &str = "what stands after the pivot is not undone";
const AFTER_PIVOT: &str = "a forward step is done after the pivot";
const READABLE: &str = "the records follow each other";
const AT_ONCE: &str = "a step has one attempt at a time";
const REASON: &str = "a saga is undone for a reason";
const LIMITED: &str = "an attempt is not interrupted without end";
const KEPT: &str = "a cancellation that was accepted stays in the journal";
const CAN_COMPACT: &str = "attempts can be compacted";
const CAN_COMPLETE: &str = "it can be completed";
const CAN_COMPENSATE: &str = "it can be compensated";

/// A budget with one fault of each kind, and this many in total.
const fn any(faults: u8) -> Budget {
    Budget {
        faults,
        crashes: 1,
        losses: 1,
        refusals: 1,
        takeovers: 1,
        cancels: 1,
        give_ups: 1,
        parks: 0,
        resolutions: 0,
        compactions: 0,
    }
}

/// A budget with an operator who parks the saga twice and resolves two steps, and one fault of some other kinds.
const fn operated(faults: u8) -> Budget {
    Budget { parks: 2, resolutions: 2, takeovers: 0, give_ups: 0, ..any(faults) }
}

/// A budget of crashes alone.
const fn crashes(crashes: u8) -> Budget {
    let none = any(crashes);
    Budget { crashes, losses: 0, refusals: 0, takeovers: 0, cancels: 0, give_ups: 0, ..none }
}

/// A budget with three failures, the fewest that a compaction shortens, and this many other faults.
const fn compacted(others: u8) -> Budget {
    Budget { losses: 3, compactions: 1, crashes: 0, refusals: 0, give_ups: 0, ..any(4 + others) }
}

fn invariants() -> Vec<Property<World>> {
    vec![
        Property::always(COMPLETED, |_, now: &Situation| {
            now.end() != Some(SagaOutcome::Completed) || now.participants.iter().all(|one| one.effects() == 1)
        }),
        Property::always(COMPENSATED, |_, now: &Situation| {
            now.end() != Some(SagaOutcome::Compensated)
                || now.participants.iter().all(|one| one.effects() == 0)
        }),
        Property::always(ONCE, |_, now: &Situation| now.participants.iter().all(|one| one.effects() <= 1)),
        Property::always(FORWARD_ONLY, |world: &World, now: &Situation| {
            !pivot_stands(world, &now.participants) || now.participants.iter().all(|one| !one.asked_to_undo)
        }),
        Property::always(AFTER_PIVOT, |world: &World, now: &Situation| {
            let forward = world.kinds.iter().zip(&now.participants);
            let mut forward = forward.filter(|(kind, _)| **kind == StepKind::Forward);
            !forward.any(|(_, one)| one.effects() > 0) || pivot_stands(world, &now.participants)
        }),
        Property::always(READABLE, |_, now: &Situation| now.journal.is_some()),
        // A worker that was taken over from may still run its attempt.
        Property::always(AT_ONCE, |world: &World, now: &Situation| {
            let mut steps = 0_u16..u16::try_from(world.kinds.len()).unwrap();
            now.budget.takeovers < world.budget.takeovers || steps.all(|step| now.at_once(step) <= 1)
        }),
        Property::always(REASON, |world: &World, now: &Situation| {
            let (left, had) = (now.budget, world.budget);
            let reason = left.refusals < had.refusals
                || left.cancels < had.cancels
                || left.give_ups < had.give_ups
                || left.resolutions < had.resolutions;
            reason || now.journal.as_ref().is_none_or(|state| !state.is_aborting())
        }),
        Property::always(LIMITED, |_, now: &Situation| {
            let steps = now.journal.iter().flat_map(|state| &state.steps);
            let mut phases = steps.flat_map(|step| [&step.action, &step.compensation]);
            phases.all(|phase_state| phase_state.interruptions <= INTERRUPTIONS)
        }),
        Property::always(KEPT, |world: &World, now: &Situation| {
            let is_cancelled = now.budget.cancels < world.budget.cancels;
            !is_cancelled || now.journal.as_ref().is_none_or(|state| state.cancel_requested)
        }),
        Property::sometimes(CAN_COMPACT, |world: &World, now: &Situation| {
            let mut records = now.records.iter().flatten();
            world.budget.compactions == 0
                || records.any(|record| matches!(record, Record::Compacted { .. })) && now.end().is_some()
        }),
        Property::sometimes(CAN_COMPLETE, |_, now: &Situation| now.end() == Some(SagaOutcome::Completed)),
        Property::sometimes(CAN_COMPENSATE, |_, now: &Situation| now.end() == Some(SagaOutcome::Compensated)),
    ]
}

fn pivot_stands(world: &World, participants: &[Participant]) -> bool {
    let mut both = world.kinds.iter().zip(participants);
    both.any(|(kind, one)| *kind == StepKind::Pivot && one.effects() > 0)
}

fn world(steps: &[(StepKind, u16)], budget: Budget, without: Without) -> World {
    let specs = steps
        .iter()
        .enumerate()
        .map(|(index, (kind, stage))| StepSpec::new(format!("s{index}"), *kind, *stage));
    let started = Record::Started(Started::new("model", 1, specs.collect(), Value::Null, 0));
    let begun = fold([&started]).unwrap();
    World { begun, kinds: steps.iter().map(|(kind, _)| *kind).collect(), without, budget }
}

const SEQUENTIAL: &[(StepKind, u16)] =
    &[(StepKind::Compensatable, 0), (StepKind::Pivot, 1), (StepKind::Forward, 2)];
const COMPENSATABLE: &[(StepKind, u16)] =
    &[(StepKind::Compensatable, 0), (StepKind::Compensatable, 1), (StepKind::Compensatable, 2)];
const PARALLEL: &[(StepKind, u16)] =
    &[(StepKind::Compensatable, 0), (StepKind::Compensatable, 0), (StepKind::Pivot, 1)];

/// Checks that all invariants hold in every reachable state.
fn holds(steps: &[(StepKind, u16)], budget: Budget) {
    let checker = world(steps, budget, Without::Nothing).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
}

/// Checks that without this protection one of the expected invariants fails.
fn breaks(steps: &[(StepKind, u16)], without: Without, expected: &[&str]) {
    breaks_with(steps, any(3), without, expected);
}

fn breaks_with(steps: &[(StepKind, u16)], budget: Budget, without: Without, expected: &[&str]) {
    let model = world(steps, budget, without);
    let wanted: std::collections::BTreeSet<&'static str> =
        invariants().iter().map(|one| one.name).filter(|name| expected.contains(name)).collect();
    let finish = stateright::HasDiscoveries::AnyOf(wanted);
    let checker = model.checker().threads(2).finish_when(finish).spawn_bfs().join();
    let found: Vec<&str> = checker.discoveries().into_keys().collect();
    assert!(found.iter().any(|name| expected.contains(name)), "{without:?}: found {found:?} only");
}

#[test]
fn a_sequential_saga_with_a_pivot_is_whole() {
    holds(SEQUENTIAL, any(4));
}

#[test]
fn a_saga_of_compensatable_steps_is_whole() {
    holds(COMPENSATABLE, any(3));
}

#[test]
fn a_parallel_pair_with_a_pivot_is_whole() {
    holds(PARALLEL, any(2));
}

#[test]
fn a_saga_with_an_operator_is_whole() {
    holds(SEQUENTIAL, operated(4));
}

#[test]
fn a_parallel_pair_with_an_operator_is_whole() {
    holds(PARALLEL, operated(2));
}

#[test]
fn a_saga_whose_worker_keeps_dying_is_whole() {
    let budget = Budget { refusals: 1, ..crashes(4) };
    holds(SEQUENTIAL, budget);
}

#[test]
fn without_a_count_of_interruptions_a_healthy_saga_is_undone() {
    breaks_with(SEQUENTIAL, crashes(1), Without::InterruptionsApart, &[REASON]);
}

#[test]
fn without_a_limit_of_interruptions_an_attempt_is_interrupted_without_end() {
    breaks_with(SEQUENTIAL, crashes(3), Without::InterruptionLimit, &[LIMITED]);
}

#[test]
fn without_an_owner_who_parks_a_step_has_two_attempts_at_once() {
    breaks_with(SEQUENTIAL, operated(2), Without::OwnerParks, &[AT_ONCE]);
}

#[test]
fn without_a_tombstone_of_the_operator_a_late_action_is_left_behind() {
    breaks_with(SEQUENTIAL, operated(3), Without::OperatorTombstone, &[COMPENSATED]);
}

#[test]
fn a_saga_whose_journal_is_compacted_is_whole() {
    holds(&SEQUENTIAL[..2], compacted(2));
}

#[test]
fn without_fencing_a_compaction_loses_a_cancellation() {
    breaks_with(&SEQUENTIAL[..2], compacted(1), Without::CompactionFencing, &[KEPT]);
}

#[test]
fn without_fencing_a_compaction_of_a_zombie_loses_records() {
    let budget = Budget { cancels: 0, ..compacted(1) };
    breaks_with(&SEQUENTIAL[..2], budget, Without::CompactionFencing, &[READABLE]);
}

#[test]
fn without_intent_a_step_is_left_behind() {
    breaks(SEQUENTIAL, Without::Intent, &[COMPENSATED]);
}

#[test]
fn without_undoing_the_uncertain_a_step_is_left_behind() {
    breaks(COMPENSATABLE, Without::UncertainUndone, &[COMPENSATED]);
}

#[test]
fn without_idempotency_keys_a_step_is_done_twice() {
    breaks(SEQUENTIAL, Without::IdempotencyKeys, &[ONCE]);
}

#[test]
fn without_tombstones_a_late_action_is_left_behind() {
    breaks(COMPENSATABLE, Without::Tombstones, &[COMPENSATED]);
}

#[test]
fn without_fencing_a_zombie_breaks_the_saga() {
    breaks(PARALLEL, Without::Fencing, &[READABLE, COMPLETED, COMPENSATED, FORWARD_ONLY, AFTER_PIVOT]);
}
