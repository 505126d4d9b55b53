//! Coordinators that die, return, or are late, and journals that are unavailable or lose replies.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::journal::{AfterAppend, CreateOutcome, Journal, NewInstance, Status, now};
use otel_saga::two_phase::flow::{Decision, Record, Started};
use otel_saga::two_phase::{CommitError, Coordinator, Outcome};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::bank::{Bank, Fault, Is, builder};
use super::behaviour::{memory, pay};
use crate::faulty::Faulty;

/// Commits in a spawned task, so that the test can continue.
fn paying(coordinator: &Coordinator, key: &str, banks: &[&Bank]) -> JoinHandle<Result<Outcome, CommitError>> {
    let transaction = coordinator.begin("transfer", key).unwrap();
    let transaction = banks.iter().fold(transaction, |transaction, bank| transaction.with((*bank).clone()));
    tokio::spawn(transaction.commit())
}

#[tokio::test(start_paused = true)]
async fn without_a_decision_whoever_recovers_rolls_back() {
    let (journal, a, b) = (memory(), Bank::new("a").without_scan(), Bank::new("b").without_scan());
    let first = builder(&journal, "first", &[&a, &b]).start().await.unwrap();
    b.script("prepare", [Fault::Hang]);
    let paying = paying(&first, "1", &[&a, &b]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(a.is(), Some(Is::Prepared));
    drop(first);
    assert!(matches!(paying.await.unwrap(), Err(CommitError::Stopped { .. })));
    let second = builder(&journal, "second", &[&a, &b]).start().await.unwrap();
    let outcome = second.wait("transfer/1").await.unwrap();
    assert_eq!(outcome.decision, Decision::Abort);
    assert_eq!((a.is(), b.is()), (Some(Is::RolledBack), Some(Is::RolledBack)));
    // A repeated commit with the key returns the same outcome.
    assert_eq!(pay(&second, "1", &[&a, &b]).await.unwrap(), outcome);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_interrupts_leaves_the_journal_to_its_owner() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "first", &[&a, &b]).start().await.unwrap();
    b.script("prepare", [Fault::Hang]);
    let paying = paying(&coordinator, "1", &[&a, &b]);
    sleep(Duration::from_secs(1)).await;
    assert!(!coordinator.shutdown(Duration::ZERO).await);
    assert_eq!(Arc::strong_count(&journal), 1);
    assert!(paying.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_is_done_by_whoever_recovers() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let first = builder(&journal, "first", &[&a, &b]).start().await.unwrap();
    b.script("commit", [Fault::Hang]);
    let paying = paying(&first, "1", &[&a, &b]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((a.is(), b.is()), (Some(Is::Committed), Some(Is::Prepared)));
    drop(first);
    assert!(paying.await.unwrap().is_err());
    let second = builder(&journal, "second", &[&a, &b]).start().await.unwrap();
    assert!(second.wait("transfer/1").await.unwrap().is_committed());
    assert_eq!(b.is(), Some(Is::Committed));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_wakes_up_late_cannot_decide() {
    let (shared, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let faulty = Faulty::new(&shared, 0);
    let cut_off: Arc<dyn Journal> = faulty.clone();
    let first = builder(&cut_off, "first", &[&a, &b]).start().await.unwrap();
    b.script("prepare", [Fault::Slow(2000)]);
    let paying = paying(&first, "1", &[&a, &b]);
    sleep(Duration::from_secs(1)).await;
    faulty.set_away(true);
    let second = builder(&shared, "second", &[&a, &b]).start().await.unwrap();
    let outcome = second.wait("transfer/1").await.unwrap();
    assert_eq!(outcome.decision, Decision::Abort, "all had voted yes, and nobody else could know");
    faulty.set_away(false);
    assert_eq!(paying.await.unwrap().unwrap(), outcome, "the first one is told what became of it");
    assert_eq!((a.is(), b.is()), (Some(Is::RolledBack), Some(Is::RolledBack)));
    assert!(!a.called().contains("commit") && !b.called().contains("commit"));
}

#[tokio::test(start_paused = true)]
async fn what_a_coordinator_has_without_knowing_it_goes_on() {
    let (shared, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let faulty = Faulty::new(&shared, 0);
    let cut_off: Arc<dyn Journal> = faulty.clone();
    let patient = builder(&cut_off, "first", &[&a, &b]).with_timeout(Duration::from_secs(60));
    let first = patient.start().await.unwrap();
    b.script("prepare", [Fault::Slow(20_000)]);
    let paying = paying(&first, "1", &[&a, &b]);
    sleep(Duration::from_secs(1)).await;
    faulty.set_away(true);
    sleep(Duration::from_secs(14)).await;
    // Another worker takes the transaction over and releases it, and the reply to the first one's claim is lost.
    shared.renew("other", Duration::from_secs(10)).await.unwrap();
    let taken = shared.claim("other", None, 10).await.unwrap();
    let back = AfterAppend::Runnable { at: now() };
    shared.append(&taken[0].id, taken[0].cursor(), Vec::new(), back).await.unwrap();
    shared.renew("first", Duration::from_secs(10)).await.unwrap();
    assert_eq!(shared.claim("first", None, 10).await.unwrap().len(), 1);
    faulty.set_away(false);
    let outcome = timeout(Duration::from_secs(60), paying).await.expect("nobody goes on with it");
    assert_eq!(outcome.unwrap().unwrap().decision, Decision::Abort);
    assert_eq!((a.is(), b.is()), (Some(Is::RolledBack), Some(Is::RolledBack)));
}

#[tokio::test(start_paused = true)]
async fn all_are_recovered_however_many_there_are() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    for key in 0..300 {
        let (banks, id) = (vec!["a".to_owned(), "b".to_owned()], format!("transfer/{key}"));
        let started = Record::Started(Started::new("transfer", banks, 0)).encode().unwrap();
        let created = journal.create(NewInstance::new(id, "2pc transfer", 1, vec![started])).await.unwrap();
        assert!(matches!(created, CreateOutcome::New(_)));
        a.set(&format!("pay/a/transfer/{key}"), Is::Prepared);
    }
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    for key in 0..300 {
        let waited = timeout(Duration::from_secs(600), coordinator.wait(&format!("transfer/{key}"))).await;
        assert_eq!(waited.expect("it was left out").unwrap().decision, Decision::Abort);
    }
    assert!(a.ledger().branches.values().all(|is| *is == Is::RolledBack));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_before_the_journal_has_answered() {
    let (shared, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let faulty = Faulty::new(&shared, 0);
    let journal: Arc<dyn Journal> = faulty.clone();
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    b.script("prepare", [Fault::Slow(2000)]);
    let paying = paying(&coordinator, "1", &[&a, &b]);
    sleep(Duration::from_secs(1)).await;
    faulty.set_away(true);
    let refused = pay(&coordinator, "2", &[&a, &b]).await.unwrap_err();
    assert!(matches!(refused, CommitError::Journal(_)), "{refused}");
    let before = faulty.asked();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((a.is(), b.is()), (Some(Is::Prepared), Some(Is::Prepared)));
    assert!(faulty.asked() - before < 250, "asked {} times in a minute", faulty.asked() - before);
    faulty.set_away(false);
    assert!(paying.await.unwrap().unwrap().is_committed());
    assert_eq!((a.is(), b.is()), (Some(Is::Committed), Some(Is::Committed)));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_loses_answers_loses_no_transaction() {
    for every in 2..7 {
        let faulty = Faulty::new(&memory(), every);
        let journal: Arc<dyn Journal> = faulty.clone();
        let (a, b) = (Bank::new("a"), Bank::new("b"));
        let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
        for key in 0..10 {
            b.script("prepare", [if key % 2 == 0 { Fault::Refuse } else { Fault::Slow(1) }]);
            a.script("commit", [Fault::LoseAnswer]);
            let id = format!("transfer/{key}");
            let ended = async {
                let _ = pay(&coordinator, &key.to_string(), &[&a, &b]).await;
                loop {
                    match coordinator.wait(&id).await {
                        Ok(outcome) => return outcome,
                        // The transaction was never begun, so that it is begun again.
                        Err(_) => _ = pay(&coordinator, &key.to_string(), &[&a, &b]).await,
                    }
                }
            };
            let outcome = timeout(Duration::from_secs(600), ended).await.expect("it is stuck");
            assert!(outcome.is_consistent(), "{every} {id}: {outcome:?}");
        }
        let (a, b) = (a.ledger(), b.ledger());
        for (text, is) in &a.branches {
            let other = b.branches.get(&text.replace("pay/a/", "pay/b/"));
            let committed = *is == Is::Committed;
            assert_ne!(*is, Is::Prepared, "{every} {text}");
            assert_eq!(other == Some(&Is::Committed), committed, "{every} {text}: {is:?} and {other:?}");
        }
        assert!(b.branches.values().all(|is| *is != Is::Prepared));
    }
}

#[tokio::test(start_paused = true)]
async fn strays_are_ended_as_the_journal_says_and_those_of_others_left_alone() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    assert!(pay(&coordinator, "1", &[&a, &b]).await.unwrap().is_committed());
    a.set("pay/a/transfer/1", Is::Prepared);
    a.set("pay/a/transfer/unknown", Is::Prepared);
    a.set("others/a/transfer/unknown", Is::Prepared);
    a.set("others/a/transfer/later", Is::Prepared);
    sleep(Duration::from_secs(20)).await;
    let is = |text: &str| a.ledger().branches[text];
    assert_eq!(is("pay/a/transfer/1"), Is::Committed);
    assert_eq!(is("pay/a/transfer/unknown"), Is::RolledBack);
    assert_eq!(is("others/a/transfer/unknown"), Is::Prepared);
    // An unknown transaction of another coordinator's name is not ended by this one.
    assert!(!a.ledger().branches.contains_key("pay/a/transfer/later"));
    assert!(pay(&coordinator, "later", &[&a, &b]).await.unwrap().is_committed());
}

#[tokio::test(start_paused = true)]
async fn what_is_ended_while_it_is_found_is_no_stray() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    assert!(pay(&coordinator, "1", &[&a, &b]).await.unwrap().is_committed());
    let before = a.called();
    a.ledger().once_in_doubt.push("pay/a/transfer/1".to_owned());
    sleep(Duration::from_secs(60)).await;
    assert!(a.ledger().once_in_doubt.is_empty(), "it was found");
    assert_eq!(a.called(), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_prepared_and_undecided_is_no_stray() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let slow = builder(&journal, "w", &[&a, &b]).with_timeout(Duration::from_secs(60));
    let coordinator = slow.start().await.unwrap();
    b.script("prepare", [Fault::Slow(40_000)]);
    assert!(pay(&coordinator, "1", &[&a, &b]).await.unwrap().is_committed());
    assert_eq!((a.is(), b.is()), (Some(Is::Committed), Some(Is::Committed)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_waits_alone() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let started = Record::Started(Started::new("transfer", vec!["a".to_owned(), "c".to_owned()], 0));
    let strange = NewInstance::new("transfer/c", "2pc transfer", 1, vec![started.encode().unwrap()]);
    let damaged = NewInstance::new("transfer/x", "2pc transfer", 1, vec![b"{}".to_vec()]);
    for new in [strange, damaged] {
        assert!(matches!(journal.create(new).await.unwrap(), CreateOutcome::New(_)));
    }
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    assert!(pay(&coordinator, "1", &[&a, &b]).await.unwrap().is_committed());
    sleep(Duration::from_secs(120)).await;
    for id in ["transfer/c", "transfer/x"] {
        let summary = journal.load(id).await.unwrap().unwrap().summary;
        assert_eq!((summary.status, summary.head), (Status::Running, 1), "{id}");
        assert!(summary.epoch < 10, "{id} was claimed {} times in two minutes", summary.epoch);
    }
    drop(coordinator);
    // With the missing participant, the coordinator continues the transaction.
    let c = Bank::new("c");
    let coordinator = builder(&journal, "w2", &[&a, &b, &c]).start().await.unwrap();
    assert_eq!(coordinator.wait("transfer/c").await.unwrap().decision, Decision::Abort);
    assert_eq!(c.is(), Some(Is::RolledBack));
}

#[tokio::test(start_paused = true)]
async fn what_ended_long_ago_is_forgotten_and_what_may_be_asked_for_is_not() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let hour = Duration::from_secs(3600);
    let coordinator = builder(&journal, "w", &[&a, &b]).with_retention(hour).start().await.unwrap();
    assert!(pay(&coordinator, "1", &[&a, &b]).await.unwrap().is_committed());
    sleep(hour / 2).await;
    b.script("commit", [Fault::Lose; 10_000]);
    assert_eq!(pay(&coordinator, "2", &[&a, &b]).await.unwrap().unacknowledged, ["b"]);
    sleep(hour).await;
    assert!(journal.load("transfer/1").await.unwrap().is_none());
    assert!(journal.load("transfer/2").await.unwrap().is_some());
    let pruned = b.ledger().pruned.clone();
    assert!(pruned.iter().all(|(prefix, age)| prefix == "pay/b/" && *age >= hour));
    // The transaction in doubt is an hour old, so that the participants keep branches for one hour longer.
    assert!(pruned.last().unwrap().1 > hour * 2 - Duration::from_secs(60), "{:?}", pruned.last());
}

#[tokio::test(start_paused = true)]
async fn who_shuts_down_hands_over() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let first = builder(&journal, "first", &[&a, &b]).start().await.unwrap();
    b.script("commit", [Fault::Lose; 3]);
    assert_eq!(pay(&first, "1", &[&a, &b]).await.unwrap().unacknowledged, ["b"]);
    assert!(first.shutdown(Duration::from_secs(30)).await);
    let left = journal.load("transfer/1").await.unwrap().unwrap().summary;
    assert_eq!((left.status, left.owner), (Status::Running, None));
    let second = builder(&journal, "second", &[&a, &b]).start().await.unwrap();
    let waited = timeout(Duration::from_secs(5), second.wait("transfer/1")).await;
    assert!(waited.expect("it waits for a lease").unwrap().is_committed());
    assert_eq!(b.is(), Some(Is::Committed));
}

#[tokio::test(start_paused = true)]
async fn whose_caller_goes_away_goes_on() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    b.script("prepare", [Fault::Slow(1000)]);
    let paying = paying(&coordinator, "1", &[&a, &b]);
    sleep(Duration::from_millis(500)).await;
    paying.abort();
    assert!(coordinator.wait("transfer/1").await.unwrap().is_committed());
}

#[tokio::test(start_paused = true)]
async fn a_wait_survives_an_outage_of_the_journal() {
    let faulty = Faulty::new(&memory(), 0);
    let journal: Arc<dyn Journal> = faulty.clone();
    let (a, b) = (Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    b.script("commit", [Fault::Lose; 3]);
    assert_eq!(pay(&coordinator, "1", &[&a, &b]).await.unwrap().unacknowledged, ["b"]);
    let waiting = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.wait("transfer/1").await }
    });
    sleep(Duration::from_millis(1)).await;
    faulty.set_away(true);
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    faulty.set_away(false);
    assert!(waiting.await.unwrap().unwrap().is_committed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_zero_is_not_renewed_without_pause() {
    let faulty = Faulty::new(&memory(), 0);
    let journal: Arc<dyn Journal> = faulty.clone();
    let _coordinator = builder(&journal, "w", &[]).with_lease(Duration::ZERO).start().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(faulty.asked() < 100, "{} requests in a second", faulty.asked());
}

/// The coordinator owns the transaction, and no task drives it: the creation was repeated, and found it.
#[tokio::test(start_paused = true)]
async fn a_transaction_whose_creation_lost_its_reply_is_decided() {
    let faulty = Faulty::new(&memory(), 0);
    let journal: Arc<dyn Journal> = faulty.clone();
    let (a, b) = (Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    faulty.lose_create();
    let outcome = timeout(Duration::from_secs(60), pay(&coordinator, "1", &[&a, &b])).await;
    let outcome = outcome.expect("no task drives it").unwrap();
    assert!(!outcome.is_committed());
    assert_eq!(coordinator.wait("transfer/1").await.unwrap(), outcome);
}
