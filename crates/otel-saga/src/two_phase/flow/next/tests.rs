//! Tests of `next` by example. `tests/it/two_phase/models.rs` explores all orders of events.

use super::*;
use crate::two_phase::flow::{Record, Started, fold};

fn state(participants: usize, records: &[Record]) -> State {
    let names = (0..participants).map(|number| format!("p{number}")).collect();
    let started = Record::Started(Started::new("t", names, 0));
    fold(std::iter::once(&started).chain(records)).unwrap()
}

fn ask(participants: usize, votes: &[Vote]) -> Vec<Command> {
    let votes: Vec<_> = votes.iter().cloned().map(Some).collect();
    next(&state(participants, &[]), Some(&votes))
}

fn rollbacks(participants: &[u16]) -> Vec<Command> {
    participants.iter().map(|participant| Command::Rollback { participant: *participant }).collect()
}

#[test]
fn everybody_is_asked_and_only_those_that_are_missing() {
    let missing = next(&state(3, &[]), Some(&[None, Some(Vote::Yes), None]));
    assert_eq!(missing, [Command::Prepare { participant: 0 }, Command::Prepare { participant: 2 }]);
}

#[test]
fn the_decision_comes_before_the_commits() {
    use Vote::{ReadOnly, Yes};
    assert_eq!(ask(3, &[Yes, ReadOnly, Yes]), [Command::Decide { recipients: vec![0, 2] }]);
    let decided = Record::Decided { decision: Decision::Commit, recipients: vec![0, 2], reason: None };
    let commits = [Command::Commit { participant: 0 }, Command::Commit { participant: 2 }];
    // A coordinator that recovers the transaction has no votes, and needs none.
    assert_eq!(next(&state(3, std::slice::from_ref(&decided)), None), commits);
    let acknowledged = Record::Acknowledged { participant: 0, acknowledgement: Acknowledgement::Done };
    let half = state(3, &[decided.clone(), acknowledged.clone()]);
    assert_eq!(next(&half, None), [Command::Commit { participant: 2 }]);
    let other = Record::Acknowledged { participant: 2, acknowledgement: Acknowledgement::RolledBack };
    let whole = state(3, &[decided, acknowledged, other]);
    assert_eq!(next(&whole, None), [Command::Finish(Decision::Commit)]);
    assert_eq!(whole.heuristics().collect::<Vec<_>>(), [(2, Acknowledgement::RolledBack)]);
}

#[test]
fn one_no_aborts_and_only_those_that_may_be_prepared_are_told() {
    use Vote::{ReadOnly, Yes};
    let (no, unknown) = (|| Vote::No("full".to_owned()), || Vote::Unknown("lost".to_owned()));
    assert_eq!(ask(4, &[Yes, no(), ReadOnly, unknown()]), rollbacks(&[0, 3]));
    assert_eq!(ask(2, &[no(), ReadOnly]), [Command::Finish(Decision::Abort)]);
    assert_eq!(ask(2, &[Yes, unknown()]), rollbacks(&[0, 1]));
}

#[test]
fn without_a_decision_whoever_recovers_aborts() {
    assert_eq!(next(&state(2, &[]), None), rollbacks(&[0, 1]));
    let acknowledged = Record::Acknowledged { participant: 0, acknowledgement: Acknowledgement::Done };
    assert_eq!(next(&state(2, &[acknowledged]), None), rollbacks(&[1]));
}

#[test]
fn where_all_are_read_only_nothing_is_decided() {
    assert_eq!(ask(2, &[Vote::ReadOnly, Vote::ReadOnly]), [Command::Finish(Decision::Commit)]);
}

#[test]
fn a_single_participant_commits_in_one_phase() {
    assert_eq!(next(&state(1, &[]), Some(&[None])), [Command::CommitInOnePhase { participant: 0 }]);
    assert_eq!(ask(1, &[Vote::Yes]), [Command::Finish(Decision::Commit)]);
    assert_eq!(ask(1, &[Vote::ReadOnly]), [Command::Finish(Decision::Commit)]);
    assert_eq!(ask(1, &[Vote::No("full".to_owned())]), [Command::Finish(Decision::Abort)]);
    // The outcome is unknown: the answer to a rollback decides.
    assert_eq!(ask(1, &[Vote::Unknown("lost".to_owned())]), rollbacks(&[0]));
    for (acknowledgement, decision) in
        [(Acknowledgement::Committed, Decision::Commit), (Acknowledgement::Done, Decision::Abort)]
    {
        let answered = state(1, &[Record::Acknowledged { participant: 0, acknowledgement }]);
        assert_eq!(next(&answered, None), [Command::Finish(decision)]);
        assert_eq!(
            next(&answered, Some(&[Some(Vote::Unknown("lost".to_owned()))])),
            [Command::Finish(decision)]
        );
        assert_eq!(answered.heuristics().count(), 0);
    }
}

#[test]
fn records_that_contradict_are_refused() {
    let started = Record::Started(Started::new("t", vec!["p".to_owned()], 0));
    let commit = Record::Decided { decision: Decision::Commit, recipients: vec![0], reason: None };
    let abort = Record::Ended { decision: Decision::Abort, reason: None };
    assert!(fold([&started, &commit, &abort]).is_err());
    assert!(fold([&commit]).is_err());
    assert!(
        fold([&started, &Record::Acknowledged { participant: 1, acknowledgement: Acknowledgement::Done }])
            .is_err()
    );
    assert!(fold([&started, &started]).is_err());
}
