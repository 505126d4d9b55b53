//! The lease of a worker whose threads are blocked, and of one whose journal has many requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use otel_saga::journal::{Journal, Status};
use otel_saga::{Runtime, Saga, StepContext, StepError};
use tokio::time::sleep;

use crate::support::Scratch;

const LEASE: Duration = Duration::from_secs(5);

/// The time of a step: longer than a lease and the interval of one second at which workers claim what is free.
const STEP: Duration = Duration::from_secs(8);

/// The attempts that run now, their greatest number at once, and the number of all.
#[derive(Clone, Default)]
struct Attempts(Arc<[AtomicUsize; 3]>);

struct Worker {
    attempts: Attempts,
    blocks: bool,
}

async fn takes_long(cx: StepContext<Worker>, _: String, (): ()) -> Result<(), StepError> {
    let [now, most, all] = &*cx.state().attempts.0;
    all.fetch_add(1, Ordering::SeqCst);
    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    if cx.state().blocks {
        std::thread::sleep(STEP);
    } else {
        sleep(STEP).await;
    }
    now.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

fn saga() -> Saga<Worker, String> {
    let mut saga = Saga::builder("order", 1);
    saga.step("pay", (), takes_long).pivot();
    saga.build().unwrap()
}

async fn worker(database: &Scratch, attempts: &Attempts, blocks: bool) -> Runtime<Worker> {
    let journal: Arc<dyn Journal> = Arc::new(database.options().connect().await.unwrap());
    let state = Worker { attempts: attempts.clone(), blocks };
    Runtime::builder(journal, state).with_saga(&saga()).with_lease(LEASE).start()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_blocks_its_thread_does_not_lose_the_lease() {
    let database = Arc::new(Scratch::new());
    database.options().migrate().await.unwrap();
    let attempts = Attempts::default();
    let (blocked, counted) = (Arc::clone(&database), attempts.clone());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let worker = worker(&blocked, &counted, true).await;
            let id = worker.start(&saga(), "k", String::new()).await.unwrap();
            assert_eq!(worker.wait(&id).await.unwrap(), Status::Completed);
            assert!(worker.shutdown(Duration::from_secs(60)).await);
        });
    });
    while attempts.0[2].load(Ordering::SeqCst) == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let other = worker(&database, &attempts, false).await;
    assert_eq!(other.wait("order/k").await.unwrap(), Status::Completed);
    thread.join().unwrap();
    other.shutdown(Duration::from_secs(60)).await;
    assert_eq!(attempts.0[2].load(Ordering::SeqCst), 1, "the other worker took the saga over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_waits_do_not_lose_the_lease() {
    let database = Scratch::new();
    database.options().migrate().await.unwrap();
    let attempts = Attempts::default();
    let busy = worker(&database, &attempts, false).await;
    let id = busy.start(&saga(), "k", "x".repeat(1 << 20)).await.unwrap();
    let other = worker(&database, &attempts, false).await;
    let waits: Vec<_> = (0..1000)
        .map(|_| {
            let (busy, id) = (busy.clone(), id.clone());
            tokio::spawn(async move { busy.wait(&id).await })
        })
        .collect();
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap(), Status::Completed);
    }
    assert_eq!(attempts.0[2].load(Ordering::SeqCst), 1, "the other worker took the saga over");
    busy.shutdown(Duration::from_secs(60)).await;
    other.shutdown(Duration::from_secs(60)).await;
}
