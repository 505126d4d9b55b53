//! Outcomes that an operator states, and outcomes by which a step decides about its next attempt.

use std::time::Duration;

use otel_saga::flow::{Phase, Record, Resolution};
use otel_saga::journal::Status;
use otel_saga::{InstanceError, RetryPolicy, Runtime, Saga, StepContext, StepError};
use otel_testing::Recorder;
use serde_json::json;
use tokio::time::sleep;

use super::{memory, started};
use crate::shop::{Fault, Shop, builder, order};

const ANN: &str = "ann@example.com";

#[tokio::test(start_paused = true)]
async fn a_refused_forward_step_has_a_way_out() {
    let (shop, runtime) = started();
    shop.script("ship", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    let shipped = Resolution::Done(json!("by hand"));
    runtime.resolve(&id, "ship", shipped, ANN, "sent by courier").await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked, "it stays parked");
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let instance = runtime.status(&id).await.unwrap();
    assert_eq!(instance.state.steps[2].action.output(), Some(&json!("by hand")));
    let timeline: Vec<String> = instance.timeline(true).iter().map(ToString::to_string).collect();
    let resolved = "ship: resolved by ann@example.com (sent by courier): done: \"by hand\"";
    assert!(timeline.iter().any(|line| line.ends_with(resolved)), "{timeline:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pivot_that_never_responds_can_be_ended() {
    for (resolution, end, called) in [
        (Resolution::Refused, Status::Compensated, "-reserve"),
        (Resolution::Done(json!("pay-0")), Status::Completed, "ship"),
    ] {
        let (shop, runtime) = started();
        shop.script("pay", Phase::Action, [Fault::Lose; 1000]);
        let id = runtime.start(&order(1), "1", 7).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        let resolve = async |step: &str, resolution: &Resolution| {
            runtime.resolve(&id, step, resolution.clone(), ANN, "asked the bank").await
        };
        assert!(matches!(runtime.cancel(&id).await, Err(InstanceError::TooLate { .. })));
        assert!(matches!(resolve("pay", &resolution).await, Err(InstanceError::NotParked { .. })));
        runtime.park(&id, "asked the bank").await.unwrap();
        assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
        assert!(matches!(resolve("buy", &resolution).await, Err(InstanceError::NoSuchStep { .. })));
        let error = resolve("pay", &Resolution::Undone).await.unwrap_err();
        assert!(matches!(error, InstanceError::Unresolvable { .. }), "{error}");
        resolve("pay", &resolution).await.unwrap();
        runtime.unpark(&id).await.unwrap();
        assert_eq!(runtime.wait(&id).await.unwrap(), end);
        assert!(shop.called().ends_with(called), "{}", shop.called());
    }
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_never_succeeds_can_be_ended() {
    let (shop, runtime) = started();
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    shop.script("reserve", Phase::Compensation, [Fault::Lose; 1000]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    runtime.park(&id, "a look").await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    runtime.resolve(&id, "reserve", Resolution::Undone, ANN, "released by hand").await.unwrap();
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
}

#[tokio::test(start_paused = true)]
async fn nan_and_u128() {
    async fn nan(_: StepContext<()>, _: (), (): ()) -> Result<f64, StepError> {
        Ok(f64::NAN)
    }
    async fn big(_: StepContext<()>, _: (), value: f64) -> Result<u128, StepError> {
        assert_eq!(value, 1.5);
        Ok(u128::MAX)
    }
    let mut saga = Saga::builder("n", 1);
    let value = saga.step("nan", (), nan).pivot();
    saga.step("big", value, big).forward();
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    let id = runtime.start(&saga, "k", ()).await.unwrap();
    for (step, output) in [("nan", json!(1.5)), ("big", json!("340282366920938463463374607431768211455"))] {
        assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
        let reason = runtime.status(&id).await.unwrap().state.parked.unwrap();
        assert!(reason.starts_with(&format!("step `{step}`: ")), "{reason}");
        runtime.resolve(&id, step, Resolution::Done(output), ANN, "read from the log").await.unwrap();
        runtime.unpark(&id).await.unwrap();
    }
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_unparked_step_is_attempted_before_it_is_given_up() {
    async fn nan_at_first(cx: StepContext<()>, _: (), (): ()) -> Result<f64, StepError> {
        Ok(if cx.attempt() == 1 { f64::NAN } else { 1.5 })
    }
    let mut saga = Saga::builder("n", 1);
    let once = RetryPolicy::default().with_attempts(1);
    saga.step("value", (), nan_at_first).retry(once).undo(async |_, _, (), _| Ok(()));
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    let id = runtime.start(&saga, "k", ()).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_resolution_is_in_the_trace() {
    let (recorder, shop) = (Recorder::new(), Shop::default());
    let runtime = builder(&memory(), &shop, "w").with_tracer_provider(recorder.tracer_provider()).start();
    shop.script("ship", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    runtime.resolve(&id, "ship", Resolution::Done(json!(1)), ANN, "sent by courier").await.unwrap();
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let span = recorder.span("saga resolve ship");
    let start = recorder.span("saga start order");
    assert_eq!(span.parent_span_id, start.span_context.span_id());
    let attribute = |name: &str| {
        let found = span.attributes.iter().find(|one| one.key.as_str() == name);
        found.map(|one| one.value.to_string()).unwrap_or_default()
    };
    assert_eq!(attribute("saga.resolution"), "done");
    assert_eq!(attribute("saga.resolution.author"), ANN);
    assert_eq!(attribute("saga.resolution.reason"), "sent by courier");
    assert_eq!(attribute("saga.step.name"), "ship");
    // A second unparking records no second span.
    assert_eq!(recorder.spans().iter().filter(|span| span.name == "saga resolve ship").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_can_ask_for_a_wait_that_is_longer_than_that_of_its_policy() {
    let (shop, runtime) = started();
    // The policy waits 100 ms, and ten seconds at most.
    shop.script("pay", Phase::Action, [Fault::Later(120), Fault::Lose]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let world = shop.world();
    let gaps: Vec<u64> = world.calls.windows(2).map(|two| (two[1].at - two[0].at).as_secs()).collect();
    assert_eq!(gaps, [0, 120, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_gives_up_is_undone_and_one_that_cannot_be_parks() {
    let (shop, runtime) = started();
    shop.script("reserve", Phase::Action, [Fault::GiveUp]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve -reserve");

    shop.script("pay", Phase::Action, [Fault::GiveUp]);
    let id = runtime.start(&order(1), "2", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    let instance = runtime.status(&id).await.unwrap();
    assert_eq!(instance.state.parked.as_deref(), Some("step `pay` gave up: closed"));
    assert!(matches!(instance.records.last(), Some(Record::Parked { .. })));
    runtime.unpark(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
}
