//! Interruptions by shutdowns and crashes: they use up no attempts, wait longer each time, and park after a limit.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::{Phase, Record};
use otel_saga::journal::{NewInstance, Status};
use tokio::time::{Instant, sleep};

use super::memory;
use crate::shop::{Fault, Shop, builder, order};

#[tokio::test(start_paused = true)]
async fn five_graceful_shutdowns_do_not_undo_a_healthy_saga() {
    let (journal, shop) = (memory(), Shop::default());
    // A step that takes longer than each release of the service lives; three attempts are allowed.
    shop.script("reserve", Phase::Action, [Fault::Slow(4_000); 6]);
    let mut id = None;
    for release in 0..5 {
        let runtime = builder(&journal, &shop, &format!("release-{release}")).start();
        if id.is_none() {
            id = Some(runtime.start(&order(1), "1", 7).await.unwrap());
        }
        // Longer than the back-off.
        sleep(Duration::from_secs(3)).await;
        assert!(!runtime.shutdown(Duration::from_millis(10)).await);
        assert_eq!(Arc::strong_count(&journal), 1, "an interrupted task holds the journal");
    }
    let runtime = builder(&journal, &shop, "last").start();
    let id = id.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let reserve = &runtime.status(&id).await.unwrap().state.steps[0].action;
    assert_eq!((reserve.attempts, reserve.failures, reserve.interruptions), (6, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_keeps_ending_its_process_is_parked() {
    let (journal, shop) = (memory(), Shop::default());
    shop.script("pay", Phase::Action, [Fault::Slow(60_000); 100]);
    let mut runtime = builder(&journal, &shop, "w0").start();
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    let pays = || shop.world().calls.iter().filter(|call| call.step == "pay").count();
    for worker in 1..20 {
        let began = Instant::now();
        // Longer than the lease and the back-off.
        while pays() < worker && began.elapsed() < Duration::from_secs(30) {
            sleep(Duration::from_millis(10)).await;
        }
        // The process dies during the attempt, and its lease expires.
        drop(runtime);
        runtime = builder(&journal, &shop, &format!("w{worker}")).start();
    }
    let instance = runtime.status(&id).await.unwrap();
    assert_eq!(instance.summary.status, Status::Parked);
    let reason = instance.state.parked.unwrap();
    assert_eq!(reason, "step `pay`: 10 attempts in succession were interrupted");
    assert_eq!(pays(), 10);
    // An operator who has removed the cause unparks it.
    shop.script("pay", Phase::Action, []);
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_attempt_waits_from_the_second_interruption_on_also_after_a_restart() {
    let (journal, shop) = (memory(), Shop::default());
    shop.script("reserve", Phase::Action, [Fault::Slow(60_000); 10]);
    let mut id = None;
    let mut begun = Vec::new();
    for worker in 0..6 {
        let restarted = Instant::now();
        let runtime = builder(&journal, &shop, &format!("w{worker}")).start();
        if id.is_none() {
            id = Some(runtime.start(&order(1), "1", 7).await.unwrap());
        }
        while shop.world().calls.len() <= worker {
            sleep(Duration::from_millis(1)).await;
        }
        begun.push(restarted.elapsed().as_millis());
        runtime.shutdown(Duration::ZERO).await;
    }
    // The policy waits 100, 200, 400 and 800 ms.
    for (wait, expected) in begun.iter().zip([0, 0, 100, 200, 400, 800]) {
        assert!((expected..expected + 50).contains(wait), "{begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_and_interruptions_do_not_add_up() {
    let (journal, shop) = (memory(), Shop::default());
    let faults = [Fault::Lose, Fault::Slow(60_000), Fault::Slow(60_000), Fault::Slow(60_000), Fault::Lose];
    shop.script("reserve", Phase::Action, faults);
    let mut runtime = builder(&journal, &shop, "w0").start();
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    for worker in 1..4 {
        // Shorter than the time-out of the attempt.
        sleep(Duration::from_secs(2)).await;
        runtime.shutdown(Duration::ZERO).await;
        runtime = builder(&journal, &shop, &format!("w{worker}")).start();
    }
    // Three attempts are allowed: two have failed, three were interrupted, and the sixth succeeds.
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let instance = runtime.status(&id).await.unwrap();
    assert_eq!(instance.state.steps[0].action.attempts, 6);
    let interrupted = |record: &&Record| matches!(record, Record::Interrupted { .. });
    assert_eq!(instance.records.iter().filter(interrupted).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_impossible_records_is_parked_once_with_the_reason() {
    let (journal, shop) = (memory(), Shop::default());
    let started = br#"{"v":1,"r":{"started":{"saga":"order","version":1,"steps":[{"name":"reserve","kind":"compensatable","stage":1}],"input":7,"at":5}}}"#;
    let done = br#"{"v":1,"r":{"done":{"step":0,"output":1}}}"#;
    let records = vec![started.to_vec(), done.to_vec()];
    journal.create(NewInstance::new("order/bad", "order", 1, records)).await.unwrap();
    let runtime = builder(&journal, &shop, "w").start();
    assert_eq!(runtime.wait("order/bad").await.unwrap(), Status::Parked);
    sleep(Duration::from_secs(600)).await;
    let loaded = journal.load("order/bad").await.unwrap().unwrap();
    assert_eq!((loaded.summary.epoch, loaded.records.len()), (2, 3), "it was claimed once");
    let reason = otel_saga::SagaAdmin::new(journal).park_reason(&loaded.summary).await.unwrap().unwrap();
    assert_eq!(reason, "record 1 cannot follow those before it: no attempt is running");
    assert_eq!(shop.called(), "");
}
