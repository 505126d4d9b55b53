//! The ends of tasks: each exactly once, with what happened: success, error, panic, abort, drop, a runtime that shuts down.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use otel_tasks::{
    CancelReason, Cancellation, JoinSet, in_span, in_span_sync, spawn_blocking_with_span, spawn_with_span,
    timeout,
};
use otel_testing::Recorder;
use tokio::sync::oneshot;

use crate::support::{attribute, error_type, span};

fn reason(recorder: &Recorder, name: &str) -> Option<String> {
    attribute(&recorder.span(name), "task.cancellation.reason")
}

/// Asserts that the task of this name ended once with this error type, on its span and on its metric.
async fn assert_ended(recorder: &Recorder, name: &'static str, error: &str) {
    recorder.wait_for_spans(1).await;
    recorder.assert_clean();
    assert_eq!(error_type(&recorder.span(name)).as_deref(), Some(error));
    let duration =
        recorder.metric("task.duration").with("task.name", name).with("error.type", error.to_owned());
    assert_eq!(duration.count(), 1, "{}", recorder.metrics());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_the_tasks_error() {
    let recorder = Recorder::new();
    let failing = async { Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound)) };
    spawn_with_span(span(&recorder, "load"), failing).await.unwrap().unwrap_err();
    assert_ended(&recorder, "load", "not_found").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_the_task_and_reaches_its_owner() {
    let recorder = Recorder::new();
    let task = spawn_with_span(span(&recorder, "load"), async { panic!("on purpose") });
    let _: () = match task.await {
        Err(error) => assert!(error.is_panic()),
        Ok(never) => never,
    };
    assert_ended(&recorder, "load", "panic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_code_that_panics_ends_its_task() {
    let recorder = Recorder::new();
    let task = spawn_blocking_with_span(span(&recorder, "hash"), || -> () { panic!("on purpose") });
    assert!(task.await.unwrap_err().is_panic());
    assert_ended(&recorder, "hash", "panic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_task_is_cancelled() {
    let recorder = Recorder::new();
    let (started, running) = oneshot::channel();
    let task = spawn_with_span(span(&recorder, "watch"), async {
        started.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    running.await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_ended(&recorder, "watch", "cancelled").await;
    assert_eq!(reason(&recorder, "watch"), None);
    assert!(attribute(&recorder.span("watch"), "task.queue.time").is_some());
}

#[tokio::test]
async fn a_task_that_is_aborted_before_its_first_poll_is_cancelled() {
    let recorder = Recorder::new();
    let task = spawn_with_span(span(&recorder, "watch"), async {});
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_ended(&recorder, "watch", "cancelled").await;
    assert!(attribute(&recorder.span("watch"), "task.queue.time").is_none(), "it never left the queue");
}

#[test]
fn tasks_of_a_runtime_that_shuts_down_are_cancelled() {
    let recorder = Recorder::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let _entered = runtime.enter();
    drop(spawn_with_span(span(&recorder, "watch"), std::future::pending::<()>()));
    drop(_entered);
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert_eq!(error_type(&recorder.span("watch")).as_deref(), Some("cancelled"));
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_gives_the_reason_for_which_its_tasks_end() {
    type End = fn(JoinSet<()>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let cases: [(End, &str); 3] = [
        (|set| Box::pin(async move { drop(set) }), "caller_gone"),
        (|mut set| Box::pin(async move { set.shutdown().await }), "shutdown"),
        (
            |mut set| {
                Box::pin(async move {
                    set.abort_all_with_reason(CancelReason::SiblingFailed);
                    while set.join_next().await.is_some() {}
                })
            },
            "sibling_failed",
        ),
    ];
    for (end, expected) in cases {
        let recorder = Recorder::new();
        let mut set = JoinSet::new();
        set.spawn_with_span(span(&recorder, "done"), async {});
        set.join_next().await.unwrap().unwrap();
        set.spawn_with_span(span(&recorder, "watch"), std::future::pending());
        end(set).await;
        recorder.wait_for_spans(2).await;
        recorder.assert_clean();
        assert_eq!(reason(&recorder, "watch").as_deref(), Some(expected));
        assert_eq!(error_type(&recorder.span("watch")).as_deref(), Some("cancelled"));
        assert_eq!((reason(&recorder, "done"), error_type(&recorder.span("done"))), (None, None));
    }
}

#[tokio::test]
async fn a_set_that_is_used_again_has_no_earlier_reason() {
    let recorder = Recorder::new();
    let mut set = JoinSet::new();
    set.spawn_with_span(span(&recorder, "first"), std::future::pending::<()>());
    set.shutdown().await;
    set.spawn_with_span(span(&recorder, "second"), std::future::pending());
    set.abort_all_with_reason(CancelReason::SiblingFailed);
    while set.join_next().await.is_some() {}
    set.spawn_with_span(span(&recorder, "third"), std::future::pending());
    drop(set);
    recorder.wait_for_spans(3).await;
    let reasons = ["first", "second", "third"].map(|name| reason(&recorder, name).unwrap());
    assert_eq!(reasons, ["shutdown", "sibling_failed", "caller_gone"]);
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_the_reason_of_a_cancellation() {
    let recorder = Recorder::new();
    let limit = Duration::from_secs(1);
    timeout(limit, span(&recorder, "slow"), std::future::pending::<()>()).await.unwrap_err();
    timeout(limit, span(&recorder, "fast"), async {}).await.unwrap();
    assert_eq!(reason(&recorder, "slow").as_deref(), Some("deadline"));
    assert_eq!(error_type(&recorder.span("slow")).as_deref(), Some("cancelled"));
    assert_eq!(error_type(&recorder.span("fast")), None);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_first_reason_stays_and_a_success_has_none() {
    let recorder = Recorder::new();
    let cancellation = Cancellation::new();
    cancellation.set_reason(CancelReason::Shutdown);
    cancellation.set_reason(CancelReason::Deadline);
    assert_eq!(cancellation.reason(), Some(CancelReason::Shutdown));
    drop(span(&recorder, "dropped").with_cancellation(&cancellation).wrap(async {}));
    in_span(span(&recorder, "done").with_cancellation(&cancellation), async {}).await;
    assert_eq!(reason(&recorder, "dropped").as_deref(), Some("shutdown"));
    assert_eq!(reason(&recorder, "done"), None);
    recorder.assert_clean();
}

#[test]
fn a_synchronous_part_ends_with_its_panic() {
    let recorder = Recorder::new();
    let part = span(&recorder, "parse");
    let run = AssertUnwindSafe(|| -> () { in_span_sync(part, || panic!("on purpose")) });
    catch_unwind(run).unwrap_err();
    assert_eq!(error_type(&recorder.span("parse")).as_deref(), Some("panic"));
    recorder.assert_clean();
}

/// Panics when it is dropped, or when its outcome is asked for.
struct Faulty;

impl Drop for Faulty {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_task_ends_it_as_a_panic() {
    let recorder = Recorder::new();
    let faulty = Faulty;
    let task = span(&recorder, "task").wrap(async move {
        let _faulty = faulty;
    });
    catch_unwind(AssertUnwindSafe(|| drop(task))).unwrap_err();
    assert_eq!(error_type(&recorder.span("task")).as_deref(), Some("panic"));
    recorder.assert_clean();
}

#[tokio::test]
async fn an_outcome_that_panics_does_not_reach_the_task() {
    let recorder = Recorder::new();
    let output = span(&recorder, "task").wrap_with(async { 5 }, |_| panic!("on purpose")).await;
    assert_eq!(output, 5);
    assert_eq!(error_type(&recorder.span("task")).as_deref(), Some("_OTHER"));
    recorder.assert_clean();
}
