//! Complete sagas of four steps: the number per second, and the memory for large outputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use otel_saga::journal::Status;
use otel_saga::{Runtime, Saga, StepContext, StepError};
use tokio::task::JoinSet;

use crate::cell::Kind;
use crate::journals;
use crate::step::{act, undo};

/// The duration of the warm-up.
const WARM_UP: Duration = Duration::from_secs(1);
const COUNTED: Duration = Duration::from_secs(5);
/// The number of concurrent sagas with large outputs.
const LARGE: usize = 8;
/// The size of each output in bytes.
pub(crate) const OUTPUT: usize = 10 << 20;

/// A transfer: hold and check can be undone, settle decides, notify runs forward.
fn definition() -> Saga<(), u32> {
    let mut saga = Saga::builder("transfer", 1);
    let held = saga.step("hold", (), act).undo(undo);
    let checked = saga.step("check", held, act).undo(undo);
    let settled = saga.step("settle", (held, checked), act).pivot();
    saga.step("notify", settled, act).forward();
    saga.build().expect("the definition is right")
}

/// Runs sagas with the given concurrency, and prints the number that ends per second.
pub(crate) async fn measure(kind: Kind, at_once: usize) {
    let opened = journals::open(kind).await;
    let saga = definition();
    let runtime = Runtime::builder(Arc::clone(&opened.journal), ()).with_saga(&saga).start();
    let count = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..at_once {
        let (runtime, saga, count) = (runtime.clone(), saga.clone(), Arc::clone(&count));
        callers.spawn(async move {
            let began = Instant::now();
            for number in 0.. {
                let id = runtime.start(&saga, &format!("{caller}-{number}"), 7).await.expect("it starts");
                assert_eq!(runtime.wait(&id).await.expect("it exists"), Status::Completed);
                count.fetch_add(1, Ordering::Relaxed);
                if began.elapsed() > WARM_UP + 2 * COUNTED {
                    return;
                }
            }
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), count.load(Ordering::Relaxed));
    tokio::time::sleep(COUNTED).await;
    let ended = count.load(Ordering::Relaxed) - before;
    println!("sagas_a_second {}", ended as f64 / began.elapsed().as_secs_f64());
    callers.shutdown().await;
    runtime.shutdown(Duration::from_secs(10)).await;
    opened.remove().await;
}

async fn returns_much(_: StepContext<()>, _: u32, (): ()) -> Result<String, StepError> {
    Ok("x".repeat(OUTPUT))
}

async fn forgets(_: StepContext<()>, _: u32, (): (), _: Option<String>) -> Result<(), StepError> {
    Ok(())
}

/// Runs sagas of four steps with large outputs at once, and prints the greatest memory of the process.
pub(crate) async fn large(kind: Kind) {
    let opened = journals::open(kind).await;
    let mut saga = Saga::builder("large", 1);
    for number in 0..4 {
        saga.step(format!("s{number}"), (), returns_much).undo(forgets);
    }
    let saga = saga.build().expect("the definition is right");
    let runtime = Runtime::builder(Arc::clone(&opened.journal), ()).with_saga(&saga).start();
    let mut ids = Vec::new();
    for key in 0..LARGE {
        ids.push(runtime.start(&saga, &key.to_string(), 7).await.expect("it starts"));
    }
    for id in &ids {
        assert_eq!(runtime.wait(id).await.expect("it exists"), Status::Completed);
    }
    println!("peak_mib {}", peak());
    runtime.shutdown(Duration::from_secs(10)).await;
    opened.remove().await;
}

/// Returns the peak resident memory of this process in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has this file");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has this line");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
    kib / 1024.0
}
