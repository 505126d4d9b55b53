//! Sagas of eight sequential no-op steps, one or several sagas at a time.

use std::sync::Arc;
use std::time::Instant;

use benchmarks::{allocations, sdk};
use otel_saga::journal::Status;
use otel_saga::{Runtime, Saga, StepContext, StepError};
use tokio::task::JoinSet;

use crate::cell::Kind;
use crate::journals;

/// The number of steps of a saga.
pub(crate) const STEPS: usize = 8;

pub(crate) async fn act<A>(_: StepContext<()>, input: u32, _: A) -> Result<u32, StepError> {
    Ok(input)
}

pub(crate) async fn undo<A>(_: StepContext<()>, _: u32, _: A, _: Option<u32>) -> Result<(), StepError> {
    Ok(())
}

fn definition() -> Saga<(), u32> {
    let mut saga = Saga::builder("bench", 1);
    let mut before = saga.step("s0", (), act).undo(undo);
    for number in 1..STEPS {
        before = saga.step(format!("s{number}"), before, act).undo(undo);
    }
    saga.build().expect("the definition is right")
}

/// Runs the sagas with the given concurrency and prints the cost of one step.
pub(crate) fn measure(kind: Kind, telemetry: bool, sagas: usize, at_once: usize) {
    if telemetry {
        sdk::install_traces();
        sdk::install_metrics();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the runtime starts").block_on(async {
        let opened = journals::open(kind).await;
        let saga = definition();
        let runtime = Runtime::builder(Arc::clone(&opened.journal), ()).with_saga(&saga).start();
        let (began, before) = (Instant::now(), allocations::count());
        let syncs = (opened.syncs)();
        let mut callers = JoinSet::new();
        for caller in 0..at_once {
            let (runtime, saga) = (runtime.clone(), saga.clone());
            callers.spawn(async move {
                for number in (caller..sagas).step_by(at_once) {
                    let id = runtime.start(&saga, &number.to_string(), 7).await.expect("it starts");
                    assert_eq!(runtime.wait(&id).await.expect("it is there"), Status::Completed);
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.expect("all sagas complete");
        }
        let steps = (sagas * STEPS) as f64;
        // Each saga has one append for its start.
        let appends = (sagas * (STEPS + 1)) as f64;
        println!("appends_a_sync {}", appends / ((opened.syncs)() - syncs) as f64);
        println!("nanoseconds {}", began.elapsed().as_nanos() as f64 / steps);
        println!("allocations {}", (allocations::count() - before) as f64 / steps);
        runtime.shutdown(std::time::Duration::from_secs(10)).await;
        opened.remove().await;
    });
}
