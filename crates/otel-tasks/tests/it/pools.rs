//! The bounded pool: at most so many tasks at once, outputs in either order, and nothing lost at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::trace::{FutureExt as _, SpanId};
use otel_tasks::{TaskSpan, WorkerPool};
use otel_testing::Recorder;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::support::{attribute, error_type, remote, span, tasks};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limited_number_of_tasks_runs_at_once() {
    let recorder = Recorder::new();
    let (running, highest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut pool = WorkerPool::new(3);
    let spawning = async {
        for number in 0..50_usize {
            let (running, highest) = (Arc::clone(&running), Arc::clone(&highest));
            pool.spawn(span(&recorder, "job"), async move {
                highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Long enough for all tasks to be spawned, if nothing holds them back.
                sleep(Duration::from_millis(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                number
            })
            .await;
        }
    };
    spawning.with_context(remote(7, true)).await;
    let outputs: Vec<_> = pool.drain().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outputs, (0..50).collect::<Vec<_>>(), "in the order of the spawns");
    assert!((1..=3).contains(&highest.load(Ordering::SeqCst)), "{highest:?}");
    assert_eq!(recorder.spans().len(), 50);
    assert!(recorder.spans().iter().all(|span| span.parent_span_id == SpanId::from(7)));
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn outputs_are_taken_in_either_order() {
    let recorder = Recorder::new();
    let mut pool = WorkerPool::new(4);
    for seconds in [3, 1, 2, 4] {
        let job = async move {
            sleep(Duration::from_secs(seconds)).await;
            seconds
        };
        pool.spawn(span(&recorder, "job"), job).await;
    }
    assert_eq!(pool.join_next().await.unwrap().unwrap(), 1);
    assert_eq!(pool.join_next_in_order().await.unwrap().unwrap(), 3);
    assert_eq!(pool.len(), 2);
    assert_eq!(pool.join_next().await.unwrap().unwrap(), 2, "it ended while the first was waited for");
    assert_eq!(pool.join_next().await.unwrap().unwrap(), 4);
    assert!(pool.join_next().await.is_none() && pool.join_next_in_order().await.is_none() && pool.is_empty());
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_panics_makes_room_for_the_next() {
    let recorder = Recorder::new();
    let mut pool = WorkerPool::new(1);
    for number in 0..3_u32 {
        let job = async move {
            assert!(number != 1, "on purpose");
            number
        };
        timeout(LIMIT, pool.spawn(span(&recorder, "job"), job)).await.unwrap();
    }
    let outputs = timeout(LIMIT, pool.drain()).await.unwrap();
    assert_eq!(outputs[0].as_ref().unwrap(), &0);
    assert!(outputs[1].as_ref().unwrap_err().is_panic());
    assert_eq!(outputs[2].as_ref().unwrap(), &2);
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("panic"));
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_shut_down_with_work_that_waits() {
    let recorder = Recorder::new();
    let started = Arc::new(Notify::new());
    let mut pool = WorkerPool::new(1);
    let blocked = {
        let started = Arc::clone(&started);
        async move {
            started.notify_one();
            std::future::pending::<()>().await;
        }
    };
    pool.spawn(span(&recorder, "blocked"), blocked).await;
    started.notified().await;
    let waiting = timeout(Duration::from_millis(20), pool.spawn(span(&recorder, "waiting"), async {}));
    waiting.await.unwrap_err();
    let outputs = timeout(LIMIT, pool.shutdown()).await.unwrap();
    assert_eq!(outputs.len(), 1);
    assert!(outputs[0].as_ref().unwrap_err().is_cancelled());
    let reason = |name| attribute(&recorder.span(name), "task.cancellation.reason");
    assert_eq!(reason("blocked").as_deref(), Some("shutdown"));
    assert_eq!(error_type(&recorder.span("waiting")).as_deref(), Some("cancelled"));
    assert_eq!(reason("waiting"), None, "its spawn was given up before");
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_dropped_cancels_its_tasks() {
    let recorder = Recorder::new();
    let mut pool = WorkerPool::new(2);
    for _ in 0..2 {
        pool.spawn(span(&recorder, "job"), std::future::pending::<()>()).await;
    }
    drop(pool);
    timeout(LIMIT, async {
        while recorder.spans().len() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    for span in recorder.spans() {
        assert_eq!(error_type(&span).as_deref(), Some("cancelled"));
        assert_eq!(attribute(&span, "task.cancellation.reason").as_deref(), Some("caller_gone"));
    }
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outputs_of_many_tasks_are_taken_in_linear_time() {
    const TASKS: usize = 30_000;
    let instrumentation = tasks(&Recorder::new());
    let mut pool = WorkerPool::new(TASKS);
    for number in 0..TASKS {
        let job = TaskSpan::new("job").with_instrumentation(&instrumentation);
        pool.spawn(job, async move { number }).await;
    }
    let started = Instant::now();
    let mut taken = 0;
    while let Some(output) = pool.join_next().await {
        taken += output.unwrap();
    }
    assert_eq!(taken, TASKS * (TASKS - 1) / 2);
    assert!(started.elapsed() < LIMIT, "{:?}, and 0.1 s are usual", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_worker_is_queue_time() {
    let recorder = Recorder::new();
    let mut pool = WorkerPool::new(1);
    pool.spawn(span(&recorder, "first"), async { std::thread::sleep(Duration::from_millis(20)) }).await;
    pool.spawn(span(&recorder, "second"), async {}).await;
    pool.drain().await;
    let queued: f64 = attribute(&recorder.span("second"), "task.queue.time").unwrap().parse().unwrap();
    assert!(queued >= 0.02, "{queued}");
    recorder.assert_clean();
}
