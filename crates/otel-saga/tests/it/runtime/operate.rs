//! Starting twice, cancelling, parking, limits, shutdown, retention.

use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::{Query, Status};
use otel_saga::{InstanceError, StartError};

use super::{memory, started};
use crate::shop::{Fault, Shop, builder, order};

#[tokio::test(start_paused = true)]
async fn a_key_starts_one_saga() {
    let (shop, runtime) = started();
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.start(&order(1), "1", 7).await.unwrap(), id);
    runtime.wait(&id).await.unwrap();
    assert_eq!(runtime.start(&order(1), "1", 7).await.unwrap(), id);
    assert_eq!(shop.called(), "reserve pay ship");
    let other = runtime.start(&order(1), "1", 8).await.unwrap_err();
    assert_eq!(other.to_string(), "`order/1` was started with another input");
    for key in ["", "a\nb", &"x".repeat(201)] {
        assert!(matches!(runtime.start(&order(1), key, 7).await, Err(StartError::Key)));
    }
    let unknown = runtime.start(&order(2), "1", 7).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the saga `order`, version 2, is not one of this runtime's");
    let missing = runtime.wait("order/9").await.unwrap_err();
    assert!(matches!(missing, InstanceError::NotFound { .. }), "{missing}");
}

#[tokio::test(start_paused = true)]
async fn cancelling_undoes_before_the_pivot_and_comes_too_late_after_it() {
    let (shop, runtime) = started();
    shop.script("reserve", Phase::Action, [Fault::Hang]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    runtime.cancel(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve -reserve");
    assert!(matches!(runtime.cancel(&id).await, Err(InstanceError::Ended { .. })));

    shop.script("pay", Phase::Action, [Fault::Slow(1000)]);
    let id = runtime.start(&order(1), "2", 7).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(matches!(runtime.cancel(&id).await, Err(InstanceError::TooLate { .. })));
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_parked_saga_stands_still_until_it_is_unparked() {
    let (shop, runtime) = started();
    shop.script("reserve", Phase::Action, [Fault::Slow(1000)]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    runtime.park(&id, "let me see").await.unwrap();
    let summary = runtime.status(&id).await.unwrap().summary;
    assert_eq!(
        (summary.status, summary.owner.as_deref()),
        (Status::Running, Some("w")),
        "the owner parks it"
    );
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(shop.called(), "reserve");
    let parked = runtime.status(&id).await.unwrap().state;
    assert_eq!(parked.parked.as_deref(), Some("let me see"));
    assert!(parked.steps[0].action.output().is_some(), "what was under way was noted");
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!(shop.called(), "reserve pay ship");
}

#[tokio::test(start_paused = true)]
async fn a_forward_step_that_is_refused_parks_the_saga() {
    let (shop, runtime) = started();
    shop.script("ship", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    let instance = runtime.status(&id).await.unwrap();
    assert_eq!(instance.state.parked.as_deref(), Some("step `ship` was refused: no"));
    // A parked saga still refuses a cancellation that is too late.
    assert!(matches!(runtime.cancel(&id).await, Err(InstanceError::TooLate { .. })));
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked, "it was refused again, under the same key");
}

#[tokio::test(start_paused = true)]
async fn no_more_sagas_are_driven_at_once_than_allowed() {
    let shop = Shop::default();
    shop.script("reserve", Phase::Action, [Fault::Slow(1000); 20]);
    let runtime = builder(&memory(), &shop, "w").with_concurrency(3).start();
    let mut ids = Vec::new();
    for key in 0..20 {
        ids.push(runtime.start(&order(1), &key.to_string(), 7).await.unwrap());
    }
    for id in &ids {
        assert_eq!(runtime.wait(id).await.unwrap(), Status::Completed);
    }
    assert_eq!(shop.world().most_at_once, 3);
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_takes_no_place() {
    let shop = Shop::default();
    let runtime = builder(&memory(), &shop, "w").with_concurrency(1).start();
    shop.script("pay", Phase::Action, [Fault::Lose; 9]);
    let first = runtime.start(&order(1), "first", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(runtime.status(&first).await.unwrap().summary.owner, None, "it waits in the journal");
    shop.script("pay", Phase::Action, []);
    let second = runtime.start(&order(1), "second", 7).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(runtime.wait(&second).await.unwrap(), Status::Completed);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(runtime.wait(&first).await.unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_attempts_and_hands_over() {
    let (journal, shop) = (memory(), Shop::default());
    let runtime = builder(&journal, &shop, "old").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(3000)]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let other = runtime.clone();
    assert!(runtime.shutdown(Duration::from_secs(10)).await);
    assert!(matches!(other.start(&order(1), "2", 7).await, Err(StartError::ShuttingDown)));
    assert_eq!(shop.called(), "reserve");
    let next = builder(&journal, &shop, "new").start();
    let began = tokio::time::Instant::now();
    assert_eq!(next.wait(&id).await.unwrap(), Status::Completed);
    assert!(began.elapsed() < Duration::from_secs(2), "nobody waits for the old one's lease");
    assert_eq!(shop.called(), "reserve pay ship");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_runs_out_of_time_leaves_attempts_to_be_asked_again() {
    let (journal, shop) = (memory(), Shop::default());
    let runtime = builder(&journal, &shop, "old").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(3000)]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!runtime.shutdown(Duration::from_secs(1)).await);
    let next = builder(&journal, &shop, "new").start();
    assert_eq!(next.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!(shop.called(), "reserve reserve pay ship");
}

#[tokio::test(start_paused = true)]
async fn what_ended_long_ago_is_forgotten() {
    let shop = Shop::default();
    let runtime = builder(&memory(), &shop, "w").with_retention(Duration::from_secs(60)).start();
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    runtime.wait(&id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(runtime.list(&Query::default()).await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(matches!(runtime.status(&id).await, Err(InstanceError::NotFound { .. })));
}
