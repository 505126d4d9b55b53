//! The number of appends of a saga: `n` sequential steps are `n + 1` appends if the runtime has capacity.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::Saga;
use otel_saga::flow::{Phase, Record};
use otel_saga::journal::{Journal, Status};

use super::memory;
use crate::faulty::Faulty;
use crate::shop::{Fault, Shop, act, builder, order, trip, undo};

async fn written(saga: &Saga<Shop, u32>, shop: &Shop, concurrency: usize) -> usize {
    let faulty = Faulty::new(&memory(), 0);
    let journal: Arc<dyn Journal> = faulty.clone();
    let runtime = builder(&journal, shop, "w").with_saga(saga).with_concurrency(concurrency).start();
    if concurrency == 1 {
        // Takes the only slot; its appends are not counted.
        shop.script("s0", Phase::Action, [Fault::Slow(1000)]);
        runtime.start(saga, "first", 7).await.unwrap();
    }
    let before = faulty.written();
    let id = runtime.start(saga, "counted", 7).await.unwrap();
    let between = if concurrency == 1 {
        runtime.wait("chain/first").await.unwrap();
        4 - 1
    } else {
        0
    };
    runtime.wait(&id).await.unwrap();
    faulty.written() - before - between
}

fn chain(steps: usize) -> Saga<Shop, u32> {
    let mut saga = Saga::builder("chain", 1);
    for number in 0..steps {
        saga.step(format!("s{number}"), (), act).undo(undo);
    }
    saga.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn n_steps_are_n_and_one_appends() {
    for steps in [1, 2, 3, 8] {
        let written = written(&chain(steps), &Shop::default(), 256).await;
        assert_eq!(written, steps + 1, "{steps} steps");
    }
    // The start has both intents of the group; two outcomes follow, and the last step's outcome has the end.
    assert_eq!(written(&trip(), &Shop::default(), 256).await, 4);
}

#[tokio::test(start_paused = true)]
async fn without_room_the_first_intent_is_an_append_of_its_own() {
    assert_eq!(written(&chain(3), &Shop::default(), 1).await, 5);
}

#[tokio::test(start_paused = true)]
async fn the_first_intent_is_there_when_the_start_is_durable() {
    let shop = Shop::default();
    let journal = memory();
    let runtime = builder(&journal, &shop, "w").start();
    shop.script("reserve", Phase::Action, [Fault::Hang]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    let records = runtime.status(&id).await.unwrap().records;
    assert!(matches!(records[..], [Record::Started(_), Record::Intent { step: 0, attempt: 1, .. }]));
    // A repeated start begins nothing.
    assert_eq!(runtime.start(&order(1), "1", 7).await.unwrap(), id);
    assert_eq!(runtime.status(&id).await.unwrap().records, records);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.called(), "reserve");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_nobody_waits_for_is_made_all_the_same() {
    let (journal, shop) = (memory(), Shop::default());
    let runtime = builder(&journal, &shop, "w").start();
    let saga = order(1);
    let mut start = Box::pin(runtime.start(&saga, "1", 7));
    assert!(futures_util::poll!(&mut start).is_pending(), "it is dropped while it waits");
    drop(start);
    while runtime.status("order/1").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(runtime.wait("order/1").await.unwrap(), Status::Completed);
    assert_eq!(shop.called(), "reserve pay ship");
}
