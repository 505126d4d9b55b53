//! Several services on one journal: each drives its own instances only, and a key starts one instance.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use otel_saga::journal::Status;
use otel_saga::{RetryPolicy, Runtime, Saga, StartError, StepContext, StepError};

use crate::support::Scratch;

async fn fails_once(cx: StepContext<()>, _: (), (): ()) -> Result<(), StepError> {
    if cx.attempt() < 2 {
        return Err(io::Error::other("flaky").into());
    }
    Ok(())
}

/// The back-off is longer than the poll interval, so that instances wait in the journal, where both services look.
fn saga(name: &str) -> Saga<(), ()> {
    let wait = Duration::from_millis(200);
    let mut saga = Saga::builder(name, 1);
    saga.step("act", (), fails_once).retry(RetryPolicy::exponential(wait, wait)).pivot();
    saga.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_left_to_the_service_that_knows_their_definition() {
    let database = Scratch::new();
    let (order, refund) = (saga("order"), saga("refund"));
    let poll = Duration::from_millis(20);
    let orders = Runtime::builder(Arc::new(database.journal().await), ()).with_saga(&order);
    let orders = orders.with_poll_interval(poll).start();
    let refunds = Runtime::builder(Arc::new(database.journal().await), ()).with_saga(&refund);
    let refunds = refunds.with_poll_interval(poll).start();
    let mut ids = Vec::new();
    for number in 0..50 {
        ids.push(orders.start(&order, &number.to_string(), ()).await.unwrap());
        ids.push(refunds.start(&refund, &number.to_string(), ()).await.unwrap());
    }
    for id in &ids {
        assert_eq!(orders.wait(id).await.unwrap(), Status::Completed, "{id}");
    }
    orders.shutdown(Duration::from_secs(10)).await;
    refunds.shutdown(Duration::from_secs(10)).await;
}

async fn counts(cx: StepContext<Arc<AtomicUsize>>, _: u32, (): ()) -> Result<(), StepError> {
    cx.state().fetch_add(1, Ordering::SeqCst);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_four_workers_start_at_once_is_one_saga() {
    let (database, calls) = (Scratch::new(), Arc::<AtomicUsize>::default());
    let mut saga = Saga::builder("order", 1);
    saga.step("count", (), counts).pivot();
    let saga = saga.build().unwrap();
    let mut workers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let runtime = Runtime::builder(Arc::new(database.journal().await), Arc::clone(&calls));
        workers.push(runtime.with_saga(&saga).with_worker(name).start());
    }
    let starts =
        (0..100_u32).flat_map(|key| workers.iter().cycle().take(20).map(move |worker| (key, worker)));
    let starts = starts.map(|(key, worker)| {
        let (worker, saga) = (worker.clone(), saga.clone());
        tokio::spawn(async move {
            let id = worker.start(&saga, &key.to_string(), key).await.unwrap();
            worker.wait(&id).await.unwrap()
        })
    });
    for status in join_all(starts).await {
        assert_eq!(status.unwrap(), Status::Completed);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 100);
    for worker in &workers {
        let other = worker.start(&saga, "0", 1).await;
        assert!(matches!(other, Err(StartError::OtherInput { .. })), "{other:?}");
    }
    for worker in workers {
        worker.shutdown(Duration::from_secs(10)).await;
    }
}
