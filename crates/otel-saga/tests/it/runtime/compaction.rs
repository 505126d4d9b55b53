//! Steps that are retried a thousand times: their journal stays short, and the counts are exact.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::{Phase, Record};
use otel_saga::journal::{Journal, Status};
use otel_saga::{Runtime, SagaAdmin};

use super::memory;
use crate::faulty::Faulty;
use crate::shop::{Fault, Shop, builder, order, trip};

const FAILURES: usize = 1000;

/// Waits for the end, and returns the greatest number of records on the way.
async fn most_records(journal: &Arc<dyn Journal>, runtime: &Runtime<Shop>, id: &str) -> u64 {
    let mut most = 0;
    loop {
        if let Ok(Some(summary)) = journal.summary(id).await {
            most = summary.head.max(most);
        }
        if runtime.wait(id).await.is_ok_and(|status| status.is_finished()) {
            return most;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_failing_compensations_leave_few_records() {
    let (journal, shop) = (memory(), Shop::default());
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    shop.script("reserve", Phase::Compensation, [Fault::Lose; FAILURES]);
    // The longest wait is beyond the poll interval, so that each attempt begins with a claim.
    let runtime = builder(&journal, &shop, "w").start();
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    let admin = SagaAdmin::new(Arc::clone(&journal));
    while shop.world().calls.len() < FAILURES {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let instance = admin.status(&id).await.unwrap();
        assert!(instance.records.len() < 80, "{} records", instance.records.len());
    }
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    let instance = admin.status(&id).await.unwrap();
    let undo = &instance.state.steps[0].compensation;
    assert_eq!((undo.attempts, undo.failures), (1001, 1000));
    let attempts = shop
        .world()
        .calls
        .iter()
        .filter(|call| call.phase == Phase::Compensation)
        .map(|call| call.attempt)
        .collect::<Vec<_>>();
    assert_eq!(attempts, (1..=1001).collect::<Vec<_>>());
    let timeline: Vec<String> = instance.timeline(false).into_iter().map(|entry| entry.event).collect();
    assert!(
        timeline.contains(&"undoing, attempts 2 to 991 left out, 990 failed".to_owned()),
        "{timeline:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn parallel_steps_and_a_journal_that_loses_replies() {
    for every in [0, 3, 5] {
        let faulty = Faulty::new(&memory(), every);
        let (journal, shop): (Arc<dyn Journal>, _) = (faulty.clone(), Shop::default());
        shop.script("car", Phase::Action, [Fault::Refuse]);
        shop.script("flight", Phase::Compensation, [Fault::Lose; FAILURES]);
        shop.script("hotel", Phase::Compensation, [Fault::Lose; FAILURES / 2]);
        let runtime = builder(&journal, &shop, "w").start();
        let mut id = runtime.start(&trip(), "1", 7).await;
        while id.is_err() {
            id = runtime.start(&trip(), "1", 7).await;
        }
        let id = id.unwrap();
        most_records(&journal, &runtime, &id).await;
        let mut instance = runtime.status(&id).await;
        while instance.is_err() {
            instance = runtime.status(&id).await;
        }
        let instance = instance.unwrap();
        for (step, name, failures) in [(0, "flight", 1000), (1, "hotel", 500)] {
            let undo = &instance.state.steps[step].compensation;
            let world = shop.world();
            let calls =
                world.calls.iter().filter(|call| call.step == name && call.phase == Phase::Compensation);
            let last = calls.map(|call| call.attempt).max();
            assert_eq!(Some(undo.attempts), last, "every {every}: {name}");
            // Replies that are lost change nothing in the counts.
            assert_eq!((undo.attempts, undo.failures), (failures + 1, failures), "every {every}: {name}");
        }
        assert!(instance.records.len() < 200, "every {every}: {} records", instance.records.len());
        assert_eq!(shop.world().overlaps, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_finds_an_instance_that_was_compacted() {
    let (journal, shop) = (memory(), Shop::default());
    shop.script("pay", Phase::Action, [Fault::Lose; FAILURES]);
    let runtime = builder(&journal, &shop, "w").start();
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    let admin = SagaAdmin::new(Arc::clone(&journal));
    for round in 0..40 {
        tokio::time::sleep(Duration::from_secs(97)).await;
        admin.park(&id, "a look").await.unwrap();
        assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked, "round {round}");
        admin.unpark(&id).await.unwrap();
    }
    let instance = admin.status(&id).await.unwrap();
    let pay = &instance.state.steps[1].action;
    let calls = shop.world().calls.iter().filter(|call| call.step == "pay").count();
    assert_eq!((pay.attempts as usize, pay.failures as usize), (calls, calls));
    assert_eq!(instance.records.iter().filter(|record| **record == Record::Unparked).count(), 40);
}
