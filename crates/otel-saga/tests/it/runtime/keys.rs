//! Idempotency keys: fixed length, ASCII, different for each instance, the same for all attempts.

use std::collections::BTreeSet;
use std::time::Duration;

use otel_saga::flow::{Phase, Record, Started, StepKind, StepSpec};
use otel_saga::journal::{NewInstance, Status, now};
use serde_json::json;

use super::{memory, started};
use crate::shop::{Fault, Shop, builder, order};

#[tokio::test(start_paused = true)]
async fn another_saga_has_other_idempotency_keys() {
    let (journal, shop) = (memory(), Shop::default());
    let runtime = builder(&journal, &shop, "w").with_retention(Duration::from_secs(10)).start();
    let long = "\u{fc}".repeat(100);
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    for key in [&*long, "1", "1/reserve"] {
        let id = runtime.start(&order(1), key, 7).await.unwrap();
        runtime.wait(&id).await.unwrap();
    }
    // The instances are deleted, and one of their keys starts a new saga.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let again = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&again).await.unwrap(), Status::Completed);
    let world = shop.world();
    let keys: BTreeSet<&str> = world.calls.iter().map(|call| &*call.key).collect();
    assert_eq!((world.calls.len(), keys.len()), (12, 12), "{keys:?}");
    for key in keys {
        assert!(
            key.len() == 38 && key.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()),
            "{key}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn all_attempts_of_a_step_have_one_key() {
    let (shop, runtime) = started();
    shop.script("reserve", Phase::Action, [Fault::Lose; 2]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let world = shop.world();
    assert_eq!(shop_calls(&world.calls, "reserve"), (3, 1));
}

fn shop_calls(calls: &[crate::shop::Call], step: &str) -> (usize, usize) {
    let keys = || calls.iter().filter(|call| call.step == step).map(|call| &*call.key);
    (keys().count(), keys().collect::<BTreeSet<_>>().len())
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_a_nonce_keeps_the_keys_that_participants_have_seen() {
    let (journal, shop) = (memory(), Shop::default());
    let steps = [("reserve", StepKind::Compensatable), ("pay", StepKind::Pivot), ("ship", StepKind::Forward)];
    let steps = steps.into_iter().zip(1..).map(|((name, kind), stage)| StepSpec::new(name, kind, stage));
    let started = Record::Started(Started::new("order", 1, steps.collect(), json!(7), now()));
    let new = NewInstance::new("order/1", "order", 1, vec![started.encode().unwrap()]);
    journal.create(new).await.unwrap();
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    let runtime = builder(&journal, &shop, "w").start();
    assert_eq!(runtime.wait("order/1").await.unwrap(), Status::Compensated);
    let keys: Vec<String> = shop.world().calls.iter().map(|call| call.key.clone()).collect();
    assert_eq!(keys, ["order/1/reserve", "order/1/pay", "order/1/reserve:undo"]);
}
