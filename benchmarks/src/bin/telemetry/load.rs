//! Spans at a fixed rate from several tasks: the number that is lost.

use std::time::{Duration, Instant};

use opentelemetry::trace::Span as _;
use opentelemetry_sdk::trace::SdkTracer;
use tokio::task::JoinSet;

use crate::candidate::Candidate;
use crate::end::start;

/// Spans a second, of all tasks.
pub(crate) const RATE: u64 = 100_000;

pub(crate) const TASKS: u64 = 8;

/// The duration of one run.
pub(crate) const RUN: Duration = Duration::from_secs(3);

/// The pause of a task, after which it ends the spans that are due.
pub(crate) const SLICE: Duration = Duration::from_millis(10);

/// Ends spans at the rate, and prints the numbers of ended and lost ones, and the time that ending them took.
pub(crate) fn measure(candidate: Candidate) {
    let running = candidate.start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let began = Instant::now();
    runtime.expect("the runtime starts").block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn(paced(running.tracer(), began));
        }
        tasks.join_all().await;
    });
    let seconds = began.elapsed().as_secs_f64();
    let ended = (RATE / TASKS * RUN.as_secs()) * TASKS;
    println!("ended {ended}");
    println!("seconds {seconds}");
    println!("lost {}", ended - running.stop());
}

/// Ends the share of one task.
async fn paced(tracer: SdkTracer, began: Instant) {
    let total = RATE / TASKS * RUN.as_secs();
    let mut ended = 0;
    while ended < total {
        let due = (began.elapsed().as_secs_f64() * (RATE / TASKS) as f64) as u64;
        while ended < due.min(total) {
            start(&tracer).end();
            ended += 1;
        }
        tokio::time::sleep(SLICE).await;
    }
}
