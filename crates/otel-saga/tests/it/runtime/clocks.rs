//! Time-outs, leases, waits and clocks that were wrong.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::{Phase, Record, Started, StepKind, StepSpec};
use otel_saga::journal::{Journal, NewInstance, Status, now};
use otel_saga::{RetryPolicy, Runtime, Saga, StepContext, StepError};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{memory, started};
use crate::faulty::Faulty;
use crate::shop::{Fault, Shop, builder, order};

type Contexts = Arc<Mutex<Vec<StepContext<Attempts>>>>;

/// The contexts of the attempts so far.
struct Attempts(Contexts);

async fn hangs_once(cx: StepContext<Attempts>, _: (), (): ()) -> Result<(), StepError> {
    assert!(!cx.is_cancelled());
    cx.state().0.lock().await.push(cx.clone());
    if cx.attempt() == 1 {
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_cancelled_after_its_time_out() {
    let contexts = Contexts::default();
    let mut saga = Saga::builder("order", 1);
    saga.step("only", (), hangs_once).timeout(Duration::from_millis(100)).pivot();
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), Attempts(Arc::clone(&contexts))).with_saga(&saga).start();
    let id = runtime.start(&saga, "k", ()).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let contexts = std::mem::take(&mut *contexts.lock().await);
    assert_eq!(contexts.len(), 2);
    contexts[0].cancelled().await;
    assert!(contexts[0].is_cancelled());
}

async fn succeeds(_: StepContext<()>, _: (), (): ()) -> Result<(), StepError> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_a_clock_ahead_wrote_is_the_longest_of_the_policy() {
    let longest = Duration::from_secs(5);
    let mut saga = Saga::<(), ()>::builder("order", 1);
    saga.step("only", (), succeeds).retry(RetryPolicy::exponential(longest, longest)).pivot();
    let saga = saga.build().unwrap();
    let (step, phase, ahead) = (0, Phase::Action, now() + 86_400_000);
    let specs = vec![StepSpec::new("only", StepKind::Pivot, 1)];
    let records = [
        Record::Started(Started::new("order", 1, specs, Value::Null, ahead)),
        Record::Intent { step, phase, attempt: 1, at: ahead, span: None },
        Record::Failed {
            step,
            phase,
            error: "flaky".into(),
            retry_at: ahead + 5_000,
            gave_up: false,
            wait: None,
        },
    ];
    let records = records.iter().map(|record| record.encode().unwrap()).collect();
    let journal = memory();
    journal.create(NewInstance::new("order/k", "order", 1, records)).await.unwrap();
    let began = Instant::now();
    let runtime = Runtime::builder(journal, ()).with_saga(&saga).start();
    assert_eq!(runtime.wait("order/k").await.unwrap(), Status::Completed);
    let elapsed = began.elapsed();
    assert!(elapsed >= longest && elapsed < longest * 2, "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_zero_is_not_renewed_without_pause() {
    let (inner, shop) = (memory(), Shop::default());
    let journal = Faulty::new(&inner, 0);
    let runtime = builder(&(journal.clone() as Arc<dyn Journal>), &shop, "w");
    let _runtime = runtime.with_lease(Duration::ZERO).start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(journal.asked() < 100, "{} requests in a second", journal.asked());
}

#[tokio::test(start_paused = true)]
async fn a_wait_survives_an_outage_of_the_journal() {
    let (inner, shop) = (memory(), Shop::default());
    let journal = Faulty::new(&inner, 0);
    let runtime = builder(&(journal.clone() as Arc<dyn Journal>), &shop, "w").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(2_000)]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    let waiting = tokio::spawn({
        let (runtime, id) = (runtime.clone(), id.clone());
        async move { runtime.wait(&id).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    journal.set_away(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!waiting.is_finished());
    journal.set_away(false);
    assert_eq!(waiting.await.unwrap().unwrap(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_no_instance_is_an_error() {
    let (_shop, runtime) = started();
    assert!(matches!(runtime.wait("order/0").await, Err(otel_saga::InstanceError::NotFound { .. })));
}
