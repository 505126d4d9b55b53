//! The context goes along wherever code is spawned, on a runtime with several threads: on a single one, a guard that is held
//! over an await makes a bare spawn look right.

use std::sync::mpsc;
use std::thread;

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, SpanId};
use otel_tasks::{JoinSet, TaskSpan, TaskTracker, in_context, in_span_sync, spawn, spawn_blocking};
use otel_testing::Recorder;
use rayon::prelude::*;
use tokio::runtime::Handle;
use tokio::task::LocalSet;

use crate::support::{current, remote, span, tasks};

const CALLER: u64 = 7;

fn caller() -> SpanId {
    SpanId::from(CALLER)
}

/// A task that is polled on another worker thread, after an await that is pending.
async fn seen() -> (SpanId, SpanId) {
    let called = current();
    tokio::task::yield_now().await;
    (called, current())
}

/// Sends the span that is current when it is dropped.
struct OnDrop(mpsc::Sender<SpanId>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(current());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_spawn_loses_the_context() {
    let bare = async { tokio::spawn(seen()).await.unwrap() };
    assert_eq!(bare.with_context(remote(CALLER, true)).await, (SpanId::INVALID, SpanId::INVALID));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawned_tasks_have_the_context() {
    let handle = Handle::current();
    let spawned = async {
        assert_eq!(spawn(seen()).await.unwrap(), (caller(), caller()));
        assert_eq!(spawn_blocking(current).await.unwrap(), caller());

        let mut set = JoinSet::new();
        set.spawn(seen());
        set.spawn_on(seen(), &handle);
        set.spawn_blocking(|| (current(), current()));
        set.spawn_blocking_on(|| (current(), current()), &handle);
        assert_eq!(set.len(), 4);
        assert_eq!(set.join_all().await, [(caller(), caller()); 4]);
        let set: JoinSet<_> = [seen(), seen()].into_iter().collect();
        assert_eq!(set.join_all().await, [(caller(), caller()); 2]);

        let tracker = TaskTracker::new();
        assert_eq!(tracker.spawn(seen()).await.unwrap(), (caller(), caller()));
        assert_eq!(tracker.spawn_on(seen(), &handle).await.unwrap(), (caller(), caller()));
        assert_eq!(tracker.spawn_blocking(current).await.unwrap(), caller());
        assert_eq!(tracker.spawn_blocking_on(current, &handle).await.unwrap(), caller());
        tracker.close();
        tracker.wait().await;
    };
    spawned.with_context(remote(CALLER, true)).await;
}

#[tokio::test]
async fn tasks_of_a_local_set_have_the_context() {
    let local = LocalSet::new();
    let mut set = JoinSet::new();
    let tracker = TaskTracker::new();
    let elsewhere = in_context(&remote(CALLER, true), || {
        set.spawn_local_on(seen(), &local);
        tracker.spawn_local_on(seen(), &local)
    });
    let inside = async {
        set.spawn_local(seen());
        assert_eq!(tracker.spawn_local(seen()).await.unwrap(), (caller(), caller()));
        assert_eq!(elsewhere.await.unwrap(), (caller(), caller()));
        assert_eq!(set.join_all().await, [(caller(), caller()); 2]);
    };
    local.run_until(inside.with_context(remote(CALLER, true))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_task_is_dropped_in_its_context() {
    let (sender, dropped) = mpsc::channel();
    let guard = OnDrop(sender);
    let task = in_context(&remote(CALLER, true), || {
        spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        })
    });
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(dropped.recv().unwrap(), caller());
}

/// A pool whose threads, unlike the caller's, are all rayon's.
fn rayon_pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap()
}

#[test]
fn items_of_rayon_have_the_context_and_spans_of_their_own() {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    let items: Vec<u64> = (0..200).collect();
    let bare = in_context(&remote(CALLER, true), || {
        rayon_pool().install(|| items.par_iter().filter(|_| current() == caller()).count())
    });
    assert_eq!(bare, 0, "the context is lost without `in_context`");
    let context = remote(CALLER, true);
    let work = |item: &u64| {
        assert_eq!(current(), caller());
        in_span_sync(TaskSpan::new("item").with_instrumentation(&tasks), || item * 2)
    };
    let doubled: Vec<u64> =
        rayon_pool().install(|| items.par_iter().map(|item| in_context(&context, || work(item))).collect());
    assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
    assert_eq!(recorder.spans().len(), items.len());
    assert!(recorder.spans().iter().all(|span| span.parent_span_id == caller()));
    recorder.assert_clean();
}

#[test]
fn a_task_of_rayon_is_a_span_with_its_queue_time() {
    let recorder = Recorder::new();
    let pool = rayon_pool();
    let (sender, receiver) = mpsc::channel();
    let wrapped = |panics: bool| {
        let sender = sender.clone();
        in_context(&remote(CALLER, true), || {
            span(&recorder, "job").wrap_blocking(move || {
                sender.send(current()).unwrap();
                assert!(!panics, "on purpose");
            })
        })
    };
    pool.scope(|scope| {
        let job = wrapped(false);
        scope.spawn(|_| job());
    });
    let panicking = wrapped(true);
    let caught = std::panic::AssertUnwindSafe(|| pool.install(panicking));
    std::panic::catch_unwind(caught).unwrap_err();
    let seen: Vec<_> = receiver.try_iter().collect();
    let spans = recorder.spans();
    assert_eq!(seen, spans.iter().map(|span| span.span_context.span_id()).collect::<Vec<_>>());
    assert!(spans.iter().all(|span| span.parent_span_id == caller()));
    assert_eq!(recorder.metric("task.queue.duration").count(), 2);
    assert_eq!(recorder.metric("task.duration").with("error.type", "panic").count(), 1);
    recorder.assert_clean();
}

#[test]
fn a_thread_has_the_context_while_the_code_runs() {
    let context = remote(CALLER, true);
    let seen = thread::spawn(move || (in_context(&context, current), current())).join().unwrap();
    assert_eq!(seen, (caller(), SpanId::INVALID));
    assert!(Context::map_current(|context| !context.is_telemetry_suppressed()));
}
