//! Slots: running attempts hold them, by definition and by step; instances that wait hold none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use otel_saga::flow::{Phase, Record};
use otel_saga::journal::Status;
use otel_saga::{RetryPolicy, Runtime, Saga, StepContext, StepError};
use tokio::time::{Instant, sleep, timeout};

use super::memory;
use crate::shop::{Fault, Shop, act, builder, order, undo};

async fn hangs(_: StepContext<()>, _: (), (): ()) -> Result<(), StepError> {
    std::future::pending().await
}

async fn fails(_: StepContext<()>, _: (), (): ()) -> Result<(), StepError> {
    Err(StepError::uncertain("down"))
}

async fn succeeds(_: StepContext<()>, _: (), (): ()) -> Result<(), StepError> {
    Ok(())
}

async fn stays(_: StepContext<()>, _: (), (): (), _: Option<()>) -> Result<(), StepError> {
    Ok(())
}

fn fine() -> Saga<(), ()> {
    let mut saga = Saga::builder("fine", 1);
    saga.step("only", (), succeeds).undo(stays);
    saga.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn sagas_that_hang_do_not_delay_those_of_another_definition() {
    let mut stuck = Saga::builder("stuck", 1);
    stuck.step("call", (), hangs).timeout(Duration::from_secs(3600)).undo(stays);
    let mut failing = Saga::builder("failing", 1);
    let patient = RetryPolicy::exponential(Duration::from_secs(30), Duration::from_secs(60));
    failing.step("call", (), fails).retry(patient.with_attempts(1000)).undo(stays);
    for other in [stuck, failing] {
        let (other, fine) = (other.build().unwrap(), fine());
        let runtime = Runtime::builder(memory(), ()).with_saga(&other).with_saga(&fine).start();
        for key in 0..2000 {
            runtime.start(&other, &key.to_string(), ()).await.unwrap();
        }
        let id = runtime.start(&fine, "1", ()).await.unwrap();
        let ended = timeout(Duration::from_millis(500), runtime.wait(&id)).await;
        assert_eq!(ended.expect("it is delayed").unwrap(), Status::Completed, "{}", other.name());
    }
}

/// The runtime and the saga of the children.
type Children = (Runtime<Nested>, Saga<Nested, u32>);

#[derive(Clone, Default)]
struct Nested(Arc<OnceLock<Children>>);

/// Starts another saga and waits for it, to this depth.
async fn descends(cx: StepContext<Nested>, depth: u32, (): ()) -> Result<(), StepError> {
    let (runtime, saga) = cx.state().0.get().unwrap();
    if depth > 0 {
        // Every parent has its slot before any of the others is started.
        sleep(Duration::from_millis(200)).await;
        let id = runtime.start(saga, &cx.idempotency_key(), depth - 1).await?;
        runtime.wait(&id).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_another_saga_holds_no_slot() {
    let nested = Nested::default();
    let mut saga = Saga::builder("nested", 1);
    saga.step("descend", (), descends).timeout(Duration::from_secs(3600)).pivot();
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), nested.clone()).with_saga(&saga).with_concurrency(16).start();
    assert!(nested.0.set((runtime.clone(), saga.clone())).is_ok());
    let mut ids = Vec::new();
    for key in 0..16 {
        ids.push(runtime.start(&saga, &key.to_string(), 3).await.unwrap());
    }
    for id in &ids {
        let ended = timeout(Duration::from_secs(15), runtime.wait(id)).await;
        assert_eq!(ended.expect("its child has no slot").unwrap(), Status::Completed);
    }
}

/// Stops waiting for another saga, and goes on for a second.
async fn stops_waiting(cx: StepContext<Nested>, depth: u32, (): ()) -> Result<(), StepError> {
    let (runtime, saga) = cx.state().0.get().unwrap();
    if depth > 0 {
        let id = runtime.start(saga, &cx.idempotency_key(), depth - 1).await?;
        assert!(timeout(Duration::from_millis(100), runtime.wait(&id)).await.is_err());
    }
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_step_that_stops_waiting_for_another_saga_has_a_slot_again() {
    let nested = Nested::default();
    let mut saga = Saga::builder("nested", 1);
    saga.step("stop", (), stops_waiting).timeout(Duration::from_secs(3600)).pivot();
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), nested.clone()).with_saga(&saga).with_concurrency(2).start();
    assert!(nested.0.set((runtime.clone(), saga.clone())).is_ok());
    let parent = runtime.start(&saga, "parent", 1).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    // The parent and its child have both slots.
    let began = Instant::now();
    let third = runtime.start(&saga, "third", 0).await.unwrap();
    assert_eq!(runtime.wait(&third).await.unwrap(), Status::Completed);
    assert!(began.elapsed() > Duration::from_millis(1400), "it ran beside them: {:?}", began.elapsed());
    assert_eq!(runtime.wait(&parent).await.unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_short_back_off_holds_no_slot() {
    let shop = Shop::default();
    let runtime = builder(&memory(), &shop, "w").with_concurrency(1);
    // The first instance waits in memory for 100 to 400 ms between its attempts.
    let runtime = runtime.with_poll_interval(Duration::from_secs(60)).start();
    shop.script("pay", Phase::Action, [Fault::Lose; 3]);
    let first = runtime.start(&order(1), "first", 7).await.unwrap();
    sleep(Duration::from_millis(350)).await;
    assert_eq!(shop.called(), "reserve pay pay pay");
    let second = runtime.start(&order(1), "second", 7).await.unwrap();
    let ended = timeout(Duration::from_millis(100), runtime.wait(&second)).await;
    assert_eq!(ended.expect("the other one's back-off holds the slot").unwrap(), Status::Completed);
    assert_eq!(runtime.wait(&first).await.unwrap(), Status::Completed);
}

#[derive(Default)]
struct Counter {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// The attempts of the steps `first` and `second` at once.
#[derive(Clone, Default)]
struct Counters(Arc<[Counter; 2]>);

async fn counts(cx: StepContext<Counters>, _: (), (): ()) -> Result<(), StepError> {
    let counter = &cx.state().0[usize::from(cx.step() == "second")];
    counter.most.fetch_max(counter.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    sleep(Duration::from_millis(50)).await;
    counter.now.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

async fn undoes(_: StepContext<Counters>, _: (), (): (), _: Option<()>) -> Result<(), StepError> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_definition_and_a_step_have_limits_of_their_own() {
    let counters = Counters::default();
    let mut saga = Saga::builder("order", 1);
    saga.concurrency(8);
    saga.step("first", (), counts).undo(undoes);
    saga.step("second", (), counts).concurrency(2).undo(undoes);
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), counters.clone()).with_saga(&saga).with_concurrency(3).start();
    let mut ids = Vec::new();
    for key in 0..40 {
        ids.push(runtime.start(&saga, &key.to_string(), ()).await.unwrap());
    }
    for id in &ids {
        assert_eq!(runtime.wait(id).await.unwrap(), Status::Completed);
    }
    let most = [0, 1].map(|step: usize| counters.0[step].most.load(Ordering::SeqCst));
    assert_eq!(most, [8, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_waits_for_a_slot_has_no_intent_and_no_deadline() {
    let mut saga = Saga::<(), ()>::builder("order", 1);
    saga.concurrency(1);
    saga.step("slow", (), |cx: StepContext<()>, (): (), (): ()| async move {
        assert_eq!(cx.attempt(), 1);
        sleep(Duration::from_secs(5)).await;
        Ok(())
    })
    .deadline(Duration::from_secs(6))
    .undo(stays);
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    let mut ids = Vec::new();
    for key in 0..4 {
        ids.push(runtime.start(&saga, &key.to_string(), ()).await.unwrap());
    }
    sleep(Duration::from_secs(1)).await;
    for id in &ids[1..] {
        let records = runtime.status(id).await.unwrap().records;
        assert!(matches!(records[..], [Record::Started(_)]), "{records:?}");
    }
    for id in &ids {
        assert_eq!(runtime.wait(id).await.unwrap(), Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_waits_for_a_slot_can_be_cancelled() {
    let shop = Shop::default();
    let mut saga = Saga::builder("order", 2);
    saga.step("reserve", (), act::<()>).undo(undo);
    saga.step("pay", (), act::<()>).concurrency(1).pivot();
    let saga = saga.build().unwrap();
    let runtime = builder(&memory(), &shop, "w").with_saga(&saga).start();
    shop.script("pay", Phase::Action, [Fault::Slow(20_000)]);
    let first = runtime.start(&saga, "first", 7).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let second = runtime.start(&saga, "second", 7).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.called(), "reserve pay reserve");
    runtime.cancel(&second).await.unwrap();
    let ended = timeout(Duration::from_secs(1), runtime.wait(&second)).await;
    assert_eq!(ended.expect("it waits for the slot").unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve pay reserve -reserve");
    assert_eq!(runtime.wait(&first).await.unwrap(), Status::Completed);
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_definition_without_a_free_slot_raises_an_alert() {
    use crate::alerts::{Lines, set_default};
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let mut saga = Saga::builder("stuck", 3);
    saga.step("call", (), hangs).timeout(Duration::from_secs(240)).concurrency(2).undo(stays);
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    for key in 0..3 {
        runtime.start(&saga, &key.to_string(), ()).await.unwrap();
    }
    sleep(Duration::from_secs(50)).await;
    assert_eq!(lines.text(), "");
    sleep(Duration::from_secs(60)).await;
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let expected = "all 2 slots of step `call` of `stuck`, version 3 are in use";
    assert!(text.contains("no slot was free for a minute") && text.contains(expected), "{text}");
}

/// Starts race with the shutdown of their runtime, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_attempt_begins_after_a_shutdown() {
    static DOWN: AtomicUsize = AtomicUsize::new(0);
    static LATE: AtomicUsize = AtomicUsize::new(0);
    async fn checks(_: StepContext<()>, _: (), (): ()) -> Result<(), StepError> {
        LATE.fetch_add(DOWN.load(Ordering::SeqCst), Ordering::SeqCst);
        sleep(Duration::from_millis(1)).await;
        Ok(())
    }
    let mut saga = Saga::<(), ()>::builder("order", 1);
    saga.step("only", (), checks).pivot();
    let saga = saga.build().unwrap();
    for _ in 0..50 {
        DOWN.store(0, Ordering::SeqCst);
        let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
        let start = |task: usize| {
            let (runtime, saga) = (runtime.clone(), saga.clone());
            tokio::spawn(async move {
                for key in 0..100 {
                    if runtime.start(&saga, &format!("{task}-{key}"), ()).await.is_err() {
                        return;
                    }
                }
            })
        };
        let starts: Vec<_> = (0..16).map(start).collect();
        sleep(Duration::from_millis(2)).await;
        assert!(runtime.clone().shutdown(Duration::from_secs(60)).await);
        DOWN.store(1, Ordering::SeqCst);
        for start in starts {
            start.await.unwrap();
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(LATE.load(Ordering::SeqCst), 0);
}
