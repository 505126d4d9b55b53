//! Requests beside a running attempt: parking, unparking, cancelling, retrying. No step has two attempts at once, and
//! none is undone while its action runs.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, MemoryJournal, Status};
use otel_saga::{InstanceError, Runtime, SagaAdmin};
use tokio::time::{Instant, sleep};

use super::{memory, started};
use crate::shop::{Fault, Shop, builder, order, trip};

/// Starts a saga whose first step runs for two seconds, and returns after 200 ms.
async fn running() -> (Shop, Runtime<Shop>, String) {
    let (shop, runtime) = started();
    shop.script("reserve", Phase::Action, [Fault::Slow(2_000)]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    (shop, runtime, id)
}

#[tokio::test(start_paused = true)]
async fn park_and_unpark_while_a_step_runs() {
    let (shop, runtime, id) = running().await;
    runtime.park(&id, "a look").await.unwrap();
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!((shop.called().as_str(), shop.world().overlaps), ("reserve pay ship", 0));
}

#[tokio::test(start_paused = true)]
async fn park_cancel_and_unpark_while_a_step_runs() {
    let (shop, runtime, id) = running().await;
    runtime.park(&id, "a look").await.unwrap();
    runtime.cancel(&id).await.unwrap();
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!((shop.called().as_str(), shop.world().overlaps), ("reserve -reserve", 0));
    assert_eq!(shop.world().calls[1].output.as_deref(), Some("reserve-1"), "it was undone after its end");
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_no_step_while_it_is_parked_and_unparked() {
    let (journal, shop) = (memory(), Shop::default());
    let poll = Duration::from_millis(20);
    let owner = builder(&journal, &shop, "owner").with_poll_interval(poll).start();
    shop.script("reserve", Phase::Action, [Fault::Slow(2_000)]);
    let id = owner.start(&order(1), "1", 7).await.unwrap();
    let _other = builder(&journal, &shop, "other").with_poll_interval(poll).start();
    let admin = SagaAdmin::new(Arc::clone(&journal));
    for _ in 0..5 {
        sleep(Duration::from_millis(100)).await;
        admin.park(&id, "a look").await.unwrap();
        admin.unpark(&id).await.unwrap();
    }
    assert_eq!(owner.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!((shop.called().as_str(), shop.world().overlaps), ("reserve pay ship", 0));
}

#[tokio::test(start_paused = true)]
async fn a_group_is_parked_when_all_of_its_attempts_have_ended() {
    let (shop, runtime) = started();
    shop.script("flight", Phase::Action, [Fault::Lose, Fault::Lose]);
    shop.script("hotel", Phase::Action, [Fault::Slow(2_000)]);
    let id = runtime.start(&trip(), "1", 7).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    runtime.park(&id, "a look").await.unwrap();
    let began = Instant::now();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    assert!(began.elapsed() >= Duration::from_millis(1_900));
    assert_eq!(shop.called(), "flight hotel", "no attempt began meanwhile");
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!((shop.called().as_str(), shop.world().overlaps), ("flight hotel flight flight car", 0));
}

#[tokio::test(start_paused = true)]
async fn a_parking_that_its_owner_did_not_live_to_see_is_carried_out_by_the_next_one() {
    let (journal, shop) = (memory(), Shop::default());
    let dying = builder(&journal, &shop, "dying").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(60_000)]);
    let id = dying.start(&order(1), "1", 7).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    SagaAdmin::new(Arc::clone(&journal)).park(&id, "a look").await.unwrap();
    drop(dying);
    let living = builder(&journal, &shop, "living").start();
    assert_eq!(living.wait(&id).await.unwrap(), Status::Parked);
    assert_eq!(shop.called(), "reserve");
    living.unpark(&id).await.unwrap();
    assert_eq!(living.wait(&id).await.unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_waits_in_the_journal_is_parked_at_once() {
    let (shop, runtime) = started();
    shop.script("pay", Phase::Action, [Fault::Lose; 7]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    while runtime.status(&id).await.unwrap().summary.owner.is_some() {
        sleep(Duration::from_millis(100)).await;
    }
    runtime.park(&id, "a look").await.unwrap();
    assert_eq!(runtime.status(&id).await.unwrap().summary.status, Status::Parked);
}

#[tokio::test(start_paused = true)]
async fn a_retry_while_an_attempt_runs_applies_to_the_next_one() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    for elsewhere in [false, true] {
        let shop = Shop::default();
        let runtime = builder(&journal, &shop, "w").start();
        // After this many failures the policy waits ten seconds.
        let faults = [[Fault::Lose; 8].as_slice(), &[Fault::Slow(6_000)]].concat();
        shop.script("pay", Phase::Action, faults);
        let id = runtime.start(&order(1), &format!("{elsewhere}"), 7).await.unwrap();
        while shop.world().calls.len() < 10 {
            sleep(Duration::from_millis(10)).await;
        }
        // The ninth attempt to pay is running, and will be out of time.
        if elsewhere {
            SagaAdmin::new(Arc::clone(&journal)).retry(&id).await.unwrap();
        } else {
            runtime.retry(&id).await.unwrap();
        }
        assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
        let world = shop.world();
        let gap = world.calls[10].at - world.calls[9].at;
        assert!(gap < Duration::from_millis(5_100), "the attempt took 5 s, and then it waited: {gap:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_undo_a_parking() {
    let (shop, runtime, id) = running().await;
    runtime.park(&id, "a look").await.unwrap();
    assert!(matches!(runtime.retry(&id).await, Err(InstanceError::Parked { .. })));
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    assert_eq!(shop.called(), "reserve");
}
