//! Sagas that are undone while the outcome of a step is unknown, late, or contradicts an earlier one.

use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::Status;

use super::started;
use crate::shop::{Fault, order, trip};

#[tokio::test(start_paused = true)]
async fn a_compensation_that_overtakes_its_action_blocks_it() {
    let (shop, runtime) = started();
    // Each attempt is cut after 5 s, and its request arrives after the compensation.
    shop.script("reserve", Phase::Action, [Fault::Late(60_000); 3]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve reserve reserve -reserve");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(shop.world().standing.is_empty(), "a request that came after its compensation had an effect");
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_fails_panics_or_is_refused_is_repeated_and_others_continue() {
    let (shop, runtime) = started();
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    shop.script("reserve", Phase::Compensation, [Fault::Lose, Fault::Panic, Fault::Reject]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    let other = runtime.start(&trip(), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&other).await.unwrap(), Status::Completed);
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    let undo = runtime.status(&id).await.unwrap().state.steps[0].compensation.clone();
    assert_eq!((undo.attempts, undo.failures), (4, 3));
    assert_eq!(shop.world().standing.len(), 3, "only the trip stands");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_an_attempt_of_unknown_outcome_is_undone() {
    let (shop, runtime) = started();
    shop.script("reserve", Phase::Action, [Fault::LoseAnswer, Fault::Reject]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve reserve -reserve");
    assert_eq!(shop.world().calls[2].output, None);
    assert!(shop.world().standing.is_empty(), "the first attempt had an effect that was left behind");
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_undoes_the_running_step_first() {
    let (shop, runtime) = started();
    shop.script("car", Phase::Action, [Fault::Slow(3_000)]);
    let id = runtime.start(&trip(), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    runtime.cancel(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    let called = shop.called();
    let parts: Vec<&str> = called.split(' ').collect();
    assert_eq!(parts[2..4], ["car", "-car"], "{called}");
    assert_eq!(parts.len(), 6, "{called}");
    assert_eq!(shop.world().calls[3].output.as_deref(), Some("car-1"), "it was undone after its end");
    assert!(shop.world().standing.is_empty());
}
