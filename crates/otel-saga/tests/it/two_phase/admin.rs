//! Operators and saga runtimes on a coordinator's journal: they can read it, and change nothing.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::journal::Query;
use otel_saga::two_phase::flow::Decision;
use otel_saga::{InstanceError, SagaAdmin};
use tokio::time::sleep;

use super::bank::{Bank, Fault, builder};
use super::behaviour::{memory, pay};

/// Returns the timeline without its times.
async fn told(admin: &SagaAdmin, id: &str) -> Vec<String> {
    let timeline = admin.transaction(id).await.unwrap().timeline();
    let line = |step: &Option<String>, what: &String| match step {
        Some(step) => format!("{step}: {what}"),
        None => what.clone(),
    };
    timeline.iter().map(|entry| line(&entry.step, &entry.event)).collect()
}

#[tokio::test(start_paused = true)]
async fn transactions_are_shown_as_they_went() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    let admin = SagaAdmin::new(Arc::clone(&journal));
    b.script("commit", [Fault::Lose; 2]);
    pay(&coordinator, "1", &[&a, &b]).await.unwrap();
    let waiting = [
        "started transfer of a, b",
        "decided to commit",
        "a: acknowledged",
        "waiting, asked again: b: lost",
        "waiting for b",
    ];
    assert_eq!(told(&admin, "transfer/1").await, waiting);
    coordinator.wait("transfer/1").await.unwrap();
    let (last, ended) = (told(&admin, "transfer/1").await, ["b: acknowledged", "committed"]);
    assert_eq!(last[..4], waiting[..4]);
    assert_eq!(last[4..], ended);
    b.script("prepare", [Fault::Refuse]);
    pay(&coordinator, "2", &[&a, &b]).await.unwrap();
    let aborted = ["started transfer of a, b", "a: acknowledged", "aborted: b: no money"];
    assert_eq!(told(&admin, "transfer/2").await, aborted);
    b.script("prepare", [Fault::Hang]);
    let begun = coordinator.begin("transfer", "3").unwrap().with(a.clone()).with(b.clone());
    let committing = tokio::spawn(begun.commit());
    sleep(Duration::from_secs(1)).await;
    let undecided = ["started transfer of a, b", "not decided: whoever finds it so rolls back"];
    assert_eq!(told(&admin, "transfer/3").await, undecided);
    assert_eq!(committing.await.unwrap().unwrap().decision, Decision::Abort);
    let states = admin.list(&Query::default()).await.unwrap();
    let words: Vec<&str> = states.iter().map(|summary| summary.status.label_for(&summary.saga)).collect();
    assert_eq!(words, ["committed", "aborted", "aborted"]);
    assert!(matches!(admin.transaction("transfer/4").await, Err(InstanceError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn nobody_but_a_coordinator_writes_to_its_journal() {
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();
    let admin = SagaAdmin::new(Arc::clone(&journal));
    assert!(pay(&coordinator, "0", &[&a, &b]).await.unwrap().is_committed());
    b.script("commit", [Fault::Lose; 1]);
    pay(&coordinator, "1", &[&a, &b]).await.unwrap();
    drop(coordinator);
    let before = journal.load("transfer/1").await.unwrap().unwrap();
    let refused = [
        admin.cancel("transfer/1").await.unwrap_err(),
        admin.park("transfer/1", "why").await.unwrap_err(),
        admin.unpark("transfer/1").await.unwrap_err(),
        admin.retry("transfer/1").await.unwrap_err(),
        admin.status("transfer/1").await.map(|_| ()).unwrap_err(),
        admin.prune(u64::MAX, 10).await.map(|_| ()).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(&error, InstanceError::Transaction { .. }), "{error:?}");
        assert!(error.to_string().contains("is a two-phase commit and no saga"), "{error}");
    }
    // A saga runtime that was given the journal by mistake claims no transaction.
    let runtime = crate::shop::builder(&journal, &crate::shop::Shop::default(), "saga").start();
    sleep(Duration::from_secs(60)).await;
    drop(runtime);
    let after = journal.load("transfer/1").await.unwrap().unwrap();
    assert_eq!((after.summary.status, &after.records), (before.summary.status, &before.records));
    assert_eq!(after.summary.epoch, before.summary.epoch);
    assert!(journal.load("transfer/0").await.unwrap().is_some());
    let coordinator = builder(&journal, "w2", &[&a, &b]).start().await.unwrap();
    assert!(coordinator.wait("transfer/1").await.unwrap().is_committed());
}
