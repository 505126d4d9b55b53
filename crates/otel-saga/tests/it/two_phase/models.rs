//! Model checking of three small transactions: every order of crashes, lost and late answers, refusals and takeovers
//! from a coordinator that still runs. All invariants hold, and without any one protection one of them does not.

mod world;

use otel_saga::two_phase::flow::Decision;
use stateright::{Checker as _, HasDiscoveries, Model as _, Property};

use self::world::{Budget, Is, Situation, Without, World};

const ATOMIC: &str = "no participant has committed where another has rolled back";
const COMMITTED: &str = "where the end is a commit, all have committed";
const ABORTED: &str = "where the end is an abort, none has committed, and none is prepared";
const CAN_COMMIT: &str = "it can be committed";
const CAN_ABORT: &str = "it can be aborted";

fn is_any(now: &Situation, is: Is) -> bool {
    now.participants.contains(&is)
}

fn invariants() -> Vec<Property<World>> {
    vec![
        Property::always(ATOMIC, |_, now: &Situation| {
            !(is_any(now, Is::Committed) && is_any(now, Is::RolledBack))
        }),
        Property::always(COMMITTED, |_, now: &Situation| {
            now.end() != Some(Decision::Commit) || now.participants.iter().all(|one| *one == Is::Committed)
        }),
        Property::always(ABORTED, |_, now: &Situation| {
            now.end() != Some(Decision::Abort) || !(is_any(now, Is::Committed) || is_any(now, Is::Prepared))
        }),
        Property::sometimes(CAN_COMMIT, |_, now: &Situation| now.end() == Some(Decision::Commit)),
        Property::sometimes(CAN_ABORT, |_, now: &Situation| now.end() == Some(Decision::Abort)),
    ]
}

/// A budget with one refusal, up to two faults of each other kind, and this many in total.
const fn any(faults: u8) -> Budget {
    Budget { faults, crashes: 2, losses: 2, refusals: 1, takeovers: 2 }
}

/// Checks that all invariants hold in every reachable state.
fn holds(participants: u16, budget: Budget) {
    let world = World { participants, budget, without: Without::Nothing };
    let checker = world.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
}

/// Checks that within this budget, without this protection, one of the expected invariants fails.
fn breaks(budget: Budget, without: Without, expected: &[&str]) {
    let world = World { participants: 2, budget, without };
    let all = invariants();
    let wanted = all.iter().map(|one| one.name).filter(|name| expected.contains(name)).collect();
    let checker = world.checker().threads(2).finish_when(HasDiscoveries::AnyOf(wanted)).spawn_bfs().join();
    let found: Vec<&str> = checker.discoveries().into_keys().collect();
    assert!(found.iter().any(|name| expected.contains(name)), "{without:?}: found {found:?} only");
}

#[test]
fn a_transaction_of_two_is_whole() {
    holds(2, any(4));
}

#[test]
fn a_transaction_of_three_is_whole() {
    holds(3, any(2));
}

#[test]
fn a_transaction_of_one_is_whole() {
    holds(1, any(5));
}

#[test]
fn without_a_durable_decision_outcomes_are_mixed() {
    breaks(any(2), Without::DurableDecision, &[ATOMIC]);
}

#[test]
fn without_asking_again_a_rollback_strands_a_prepared_branch_with_no_crash() {
    let budget = Budget { faults: 2, crashes: 0, losses: 1, refusals: 1, takeovers: 0 };
    breaks(budget, Without::RollbacksRetried, &[ABORTED]);
}

#[test]
fn without_tombstones_a_late_prepare_strands_a_branch_with_no_crash() {
    let budget = Budget { faults: 2, crashes: 0, losses: 2, refusals: 0, takeovers: 0 };
    breaks(budget, Without::Tombstones, &[ABORTED]);
}

#[test]
fn without_fencing_a_zombie_commits_what_was_aborted() {
    let budget = Budget { faults: 1, crashes: 0, losses: 0, refusals: 0, takeovers: 1 };
    breaks(budget, Without::Fencing, &[ATOMIC, COMMITTED, ABORTED]);
}
