//! Recovery of many unfinished sagas of a dead worker: the time until the first step runs and until all are claimed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use otel_saga::journal::{Journal, NewInstance};
use otel_saga::{Runtime, Saga, StepContext, StepError};
use tokio::sync::Notify;

use crate::appends::{intent, started};
use crate::cell::Kind;
use crate::journals::{self, Opened};

/// The number of sagas in the journal.
pub(crate) const SAGAS: u64 = 100_000;
/// The batch size of claims, equal to the concurrency of a runtime.
const CLAIM: usize = 256;
const WRITERS: u64 = 512;

async fn act(cx: StepContext<Arc<Notify>>, input: u32, (): ()) -> Result<u32, StepError> {
    cx.state().notify_one();
    // Keeps other sagas from advancing until the first call has been measured.
    std::future::pending::<()>().await;
    Ok(input)
}

async fn undo(_: StepContext<Arc<Notify>>, _: u32, (): (), _: Option<u32>) -> Result<(), StepError> {
    Ok(())
}

pub(crate) async fn measure(kind: Kind) {
    let opened = fill(journals::open(kind).await).await;
    let opened = claimed(opened).await;
    let began = Instant::now();
    let counts = opened.journal.counts().await.expect("counting succeeds");
    assert_eq!(counts.iter().map(|one| one.count).sum::<u64>(), SAGAS);
    println!("counts_ms {}", began.elapsed().as_secs_f64() * 1e3);

    let first = Arc::new(Notify::new());
    let mut saga = Saga::builder("bench", 1);
    saga.step("only", (), act).undo(undo);
    let saga = saga.build().expect("the definition is right");
    // Measured from opening the journal to the first call of a step.
    let began = Instant::now();
    let opened = opened.reopen().await;
    println!("open_ms {}", began.elapsed().as_secs_f64() * 1e3);
    let runtime = Runtime::builder(Arc::clone(&opened.journal), Arc::clone(&first)).with_saga(&saga).start();
    first.notified().await;
    println!("first_ms {}", began.elapsed().as_secs_f64() * 1e3);
    runtime.shutdown(std::time::Duration::ZERO).await;
    opened.remove().await;
}

/// Creates the sagas of a worker without a lease.
async fn fill(opened: Opened) -> Opened {
    let next = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (journal, next) = (Arc::clone(&opened.journal), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= SAGAS {
                        return;
                    }
                    let records = vec![started(), intent()];
                    let new = NewInstance::new(format!("bench/{number}"), "bench", 1, records);
                    journal.create(new.with_worker("dead")).await.expect("the instance is created");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("all instances are created");
    }
    opened
}

/// Claims all sagas and releases them.
async fn claimed(opened: Opened) -> Opened {
    let journal: &Arc<dyn Journal> = &opened.journal;
    let lease = std::time::Duration::from_secs(600);
    journal.renew("claiming", lease).await.expect("the lease is acquired");
    let began = Instant::now();
    let mut claimed = 0;
    loop {
        let got = journal.claim("claiming", None, CLAIM).await.expect("claiming succeeds").len();
        if claimed == 0 {
            println!("first_claim_ms {}", began.elapsed().as_secs_f64() * 1e3);
        }
        claimed += got;
        if got < CLAIM {
            break;
        }
    }
    assert_eq!(claimed as u64, SAGAS);
    println!("claimed_s {}", began.elapsed().as_secs_f64());
    journal.renew("claiming", std::time::Duration::ZERO).await.expect("the lease is released");
    opened
}
