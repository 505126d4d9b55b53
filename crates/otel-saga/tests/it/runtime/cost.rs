//! The cost of a saga grows with the number of its steps, not with its square.

use std::time::{Duration, Instant};

use otel_saga::{Runtime, Saga, StepContext, StepError};

use super::memory;

async fn act(_: StepContext<()>, (): (), (): ()) -> Result<(), StepError> {
    Ok(())
}

async fn undo(_: StepContext<()>, (): (), (): (), _: Option<()>) -> Result<(), StepError> {
    Ok(())
}

/// Returns the processor time of this thread, on which the complete saga runs; on other systems than Linux the time.
fn used(since: Instant) -> Duration {
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = used.and_then(|used| used.split(' ').next()?.parse().ok());
    used.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// Returns the shortest of three runs of this many sagas with this many steps each.
async fn elapsed(sagas: u32, steps: u32) -> Duration {
    let mut saga = Saga::builder("long", steps);
    for number in 0..steps {
        saga.step(format!("s{number}"), (), act).undo(undo);
    }
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    let mut shortest = Duration::MAX;
    for run in 0..3 {
        let since = Instant::now();
        let began = used(since);
        for number in 0..sagas {
            let id = runtime.start(&saga, &format!("{run}-{number}"), ()).await.unwrap();
            runtime.wait(&id).await.unwrap();
        }
        shortest = shortest.min(used(since) - began);
    }
    shortest
}

#[tokio::test]
async fn the_cost_is_linear_in_the_number_of_steps() {
    // The same number of steps in total, enough for many ticks of the scheduler, which counts the time.
    let (short, long) = (elapsed(50, 100).await, elapsed(5, 1000).await);
    // A long saga took more than ten times as long for each step when each step looked at all the others.
    assert!(long < short * 4, "sagas of 100 steps took {short:?}, sagas of 1000 steps {long:?}");
}
