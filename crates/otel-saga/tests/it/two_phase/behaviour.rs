//! The course of one transaction: votes, the decision, the calls of participants, the outcome for the caller.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::SagaOutcome;
use otel_saga::journal::{AfterAppend, CreateOutcome, Journal, MemoryJournal, NewInstance, Query, Status};
use otel_saga::two_phase::flow::{Decision, Record};
use otel_saga::two_phase::{
    Acknowledgement, BeginError, CommitError, Coordinator, CoordinatorError, Outcome,
};

use super::bank::{Bank, Fault, Is, builder};

pub(super) fn memory() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

pub(super) async fn pay(
    coordinator: &Coordinator,
    key: &str,
    banks: &[&Bank],
) -> Result<Outcome, CommitError> {
    let transaction = coordinator.begin("transfer", key).unwrap();
    banks.iter().fold(transaction, |transaction, bank| transaction.with((*bank).clone())).commit().await
}

async fn records(journal: &Arc<dyn Journal>, id: &str) -> Vec<Record> {
    let loaded = journal.load(id).await.unwrap().unwrap();
    loaded.records.iter().map(|record| Record::decode(record).unwrap()).collect()
}

async fn status(journal: &Arc<dyn Journal>, id: &str) -> Status {
    journal.load(id).await.unwrap().unwrap().summary.status
}

#[tokio::test(start_paused = true)]
async fn all_that_are_prepared_commit_after_the_decision_is_durable() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    let outcome = pay(&coordinator, "1", &[&a, &b]).await.unwrap();
    assert!(outcome.is_committed() && outcome.is_consistent() && outcome.unacknowledged.is_empty());
    assert_eq!((a.is(), b.is()), (Some(Is::Committed), Some(Is::Committed)));
    assert_eq!((a.called(), b.called()), ("prepare commit".to_owned(), "prepare commit".to_owned()));
    let records = records(&journal, "transfer/1").await;
    assert!(
        matches!(&records[1], Record::Decided { decision: Decision::Commit, recipients, .. } if *recipients == [0, 1])
    );
    assert_eq!(records.len(), 5, "began, decided, two acknowledged, ended: {records:?}");
    assert_eq!(status(&journal, "transfer/1").await, Status::Completed);
    assert_eq!(coordinator.outcome("transfer/1").await.unwrap().unwrap(), outcome);
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_rolls_all_back() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    b.script("prepare", [Fault::Refuse]);
    let outcome = pay(&coordinator, "1", &[&a, &b]).await.unwrap();
    assert_eq!(outcome.decision, Decision::Abort);
    assert_eq!(outcome.reason.as_deref(), Some("b: no money"));
    assert_eq!((a.called(), b.called()), ("prepare rollback".to_owned(), "prepare".to_owned()));
    assert_eq!(a.is(), Some(Is::RolledBack));
    assert_eq!(status(&journal, "transfer/1").await, Status::Compensated);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_panics_or_does_not_answer_rolls_all_back() {
    let faults =
        [Fault::Lose, Fault::LoseAnswer, Fault::Unsure, Fault::Panic, Fault::Hang, Fault::Late(60_000)];
    for fault in faults {
        let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b").without_scan());
        let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
        b.script("prepare", [fault]);
        let outcome = pay(&coordinator, "1", &[&a, &b]).await.unwrap();
        assert_eq!(outcome.decision, Decision::Abort, "{fault:?}");
        assert!(outcome.unacknowledged.is_empty(), "{fault:?}");
        assert!(outcome.reason.is_some_and(|reason| reason.starts_with("b: ")), "{fault:?}");
        assert_eq!((a.is(), b.is()), (Some(Is::RolledBack), Some(Is::RolledBack)), "{fault:?}");
        // The late prepare finds that the branch was rolled back.
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(b.is(), Some(Is::RolledBack), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_only_read_is_not_told() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    a.script("prepare", [Fault::ReadOnly; 2]);
    assert!(pay(&coordinator, "1", &[&a, &b]).await.unwrap().is_committed());
    assert_eq!((a.called(), b.called()), ("prepare".to_owned(), "prepare commit".to_owned()));
    b.script("prepare", [Fault::ReadOnly]);
    assert!(pay(&coordinator, "2", &[&a, &b]).await.unwrap().is_committed());
    let records = records(&journal, "transfer/2").await;
    assert_eq!(records.len(), 2, "nothing was decided: {records:?}");
}

#[tokio::test(start_paused = true)]
async fn a_single_participant_commits_in_one_phase() {
    let (journal, a) = (memory(), Bank::new("a"));
    let coordinator = builder(&journal, "w", &[&a]).start().await.unwrap();
    assert!(pay(&coordinator, "1", &[&a]).await.unwrap().is_committed());
    assert_eq!(records(&journal, "transfer/1").await.len(), 2, "no decision but the participant's");
    // The answer is lost: the answer to the rollback is the decision.
    for (fault, committed) in [(Fault::LoseAnswer, true), (Fault::Lose, false)] {
        let key = format!("{fault:?}");
        a.ledger().calls.clear();
        a.script("commit", [fault]);
        let outcome = pay(&coordinator, &key, &[&a]).await.unwrap();
        assert_eq!(outcome.is_committed(), committed, "{key}");
        assert!(outcome.heuristics.is_empty());
        assert_eq!(a.called(), "prepare commit rollback");
    }
    assert!(a.ledger().branches.values().all(|is| *is != Is::Prepared));
}

#[tokio::test(start_paused = true)]
async fn what_a_single_participant_did_is_not_guessed() {
    for (fault, decision) in [(Fault::LoseAnswer, Decision::Commit), (Fault::Lose, Decision::Abort)] {
        let (journal, a) = (memory(), Bank::new("a"));
        let coordinator = builder(&journal, "w", &[&a]).start().await.unwrap();
        a.script("commit", [fault]);
        a.script("rollback", [Fault::Lose; 3]);
        // The commit waits for an answer, because without one nothing is decided.
        let outcome = pay(&coordinator, "1", &[&a]).await.unwrap();
        assert_eq!(outcome.decision, decision, "{fault:?}");
        assert!(outcome.is_consistent() && outcome.unacknowledged.is_empty());
        assert_eq!(a.called(), "prepare commit rollback rollback rollback rollback");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_is_told_to_the_caller_and_asked_again() {
    for (verb, fault) in [("commit", None), ("rollback", Some(Fault::Refuse))] {
        let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
        let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
        b.script("prepare", fault);
        a.script(verb, [Fault::Lose, Fault::LoseAnswer, Fault::Hang, Fault::Panic]);
        let outcome = pay(&coordinator, "1", &[&a, &b]).await.unwrap();
        assert_eq!(outcome.unacknowledged, ["a"], "{verb}");
        let ended = coordinator.wait("transfer/1").await.unwrap();
        assert!(ended.unacknowledged.is_empty() && ended.is_consistent());
        assert_eq!((ended.decision, &ended.reason), (outcome.decision, &outcome.reason));
        let is = if verb == "commit" { Is::Committed } else { Is::RolledBack };
        assert_eq!(a.is(), Some(is));
        assert_eq!(a.called(), format!("prepare{}", format!(" {verb}").repeat(5)));
        // A participant that has acknowledged is not called again.
        assert!(b.called().split(' ').count() <= 2, "{}", b.called());
        let records = records(&journal, "transfer/1").await;
        let waits = records.iter().filter(|record| matches!(record, Record::Waiting { .. })).count();
        assert_eq!(waits, 1, "{records:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_participants_do_on_their_own_is_reported() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    for (key, acknowledgement, consistent) in [
        ("1", Acknowledgement::Committed, true),
        ("2", Acknowledgement::RolledBack, false),
        ("3", Acknowledgement::Mixed, false),
        ("4", Acknowledgement::Hazard, false),
    ] {
        b.script("commit", [Fault::Say(acknowledgement)]);
        let outcome = pay(&coordinator, key, &[&a, &b]).await.unwrap();
        assert!(outcome.is_committed());
        assert_eq!(outcome.is_consistent(), consistent, "{acknowledgement:?}");
        assert_eq!(
            (&*outcome.heuristics[0].participant, outcome.heuristics[0].acknowledgement),
            ("b", acknowledgement)
        );
        // The journal has the same outcome.
        assert_eq!(coordinator.wait(&format!("transfer/{key}")).await.unwrap(), outcome);
    }
    a.script("prepare", [Fault::Refuse]);
    b.script("rollback", [Fault::Say(Acknowledgement::Committed)]);
    let outcome = pay(&coordinator, "5", &[&a, &b]).await.unwrap();
    assert!(!outcome.is_committed() && !outcome.is_consistent());
}

#[tokio::test(start_paused = true)]
async fn the_same_key_again_is_the_same_transaction() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    b.script("prepare", [Fault::Refuse]);
    let first = pay(&coordinator, "1", &[&a, &b]).await.unwrap();
    let calls = (a.called(), b.called());
    assert_eq!(pay(&coordinator, "1", &[&a, &b]).await.unwrap(), first);
    assert_eq!((a.called(), b.called()), calls, "nobody is asked again");
    let other = pay(&coordinator, "1", &[&a]).await.unwrap_err();
    assert!(matches!(other, CommitError::OtherParticipants { .. }), "{other}");
    // Concurrent commits: one is the transaction, and the other one receives its outcome.
    let both = [&a, &b];
    let (one, two) = tokio::join!(pay(&coordinator, "2", &both), pay(&coordinator, "2", &both));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(a.ledger().calls.iter().filter(|verb| **verb == "commit").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_ended_is_not_begun() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a]).start().await.unwrap();
    assert!(matches!(coordinator.begin("a/b", "1"), Err(BeginError::Name { .. })));
    assert!(matches!(coordinator.begin("", "1"), Err(BeginError::Name { .. })));
    for key in ["", "\n", &"k".repeat(200)] {
        assert!(matches!(coordinator.begin("transfer", key), Err(BeginError::Key { .. })), "{key}");
    }
    let none = pay(&coordinator, "1", &[]).await.unwrap_err();
    assert!(matches!(none, CommitError::NoBranches), "{none}");
    let stranger = pay(&coordinator, "1", &[&a, &b]).await.unwrap_err();
    assert!(matches!(stranger, CommitError::NotRegistered { .. }), "{stranger}");
    let twice = pay(&coordinator, "1", &[&a, &a]).await.unwrap_err();
    assert!(matches!(twice, CommitError::Twice { .. }), "{twice}");
    assert_eq!((a.called(), b.called()), (String::new(), String::new()));
    assert!(journal.list(&Query::default()).await.unwrap().is_empty());
    let begun = coordinator.begin("transfer", "1").unwrap().with(a.clone());
    assert!(coordinator.clone().shutdown(Duration::from_secs(1)).await);
    assert!(matches!(coordinator.begin("transfer", "2"), Err(BeginError::ShuttingDown)));
    assert!(matches!(begun.commit().await, Err(CommitError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_sagas_is_refused() {
    let (journal, a) = (memory(), Bank::new("a"));
    let new = NewInstance::new("order/1", "order", 1, vec![b"{}".to_vec()]);
    let CreateOutcome::New(cursor) = journal.create(new).await.unwrap() else { panic!("it exists") };
    journal
        .append("order/1", cursor, Vec::new(), AfterAppend::Finished(SagaOutcome::Completed))
        .await
        .unwrap();
    let error = builder(&journal, "w", &[&a]).start().await.unwrap_err();
    assert!(matches!(&error, CoordinatorError::OtherJournal { what } if what == "order"), "{error}");
    let error = builder(&memory(), "w", &[&a, &a]).start().await.unwrap_err();
    assert!(matches!(error, CoordinatorError::Twice { .. }), "{error}");
}
