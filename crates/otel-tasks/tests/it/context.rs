//! The context goes along wherever code is spawned, on a runtime with several threads: on a single one, a guard that is held
//! over an await makes a bare spawn look right.

use std::sync::mpsc;
use std::thread;

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, SpanId};
use otel_tasks::{JoinSet, TaskTracker, in_context, spawn, spawn_blocking};
use tokio::runtime::Handle;
use tokio::task::LocalSet;

use crate::support::{current, remote};

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

#[test]
fn a_thread_has_the_context_while_the_code_runs() {
    let context = remote(CALLER, true);
    let seen = thread::spawn(move || (in_context(&context, current), current())).join().unwrap();
    assert_eq!(seen, (caller(), SpanId::INVALID));
    assert!(Context::map_current(|context| !context.is_telemetry_suppressed()));
}
