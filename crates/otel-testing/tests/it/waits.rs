//! Waiting for spans, without polling.

use std::time::Duration;

use opentelemetry::{
    Context,
    trace::{Span, TraceContextExt, Tracer, TracerProvider},
};
use otel_testing::Recorder;
use tokio::time::timeout;

/// So patient that only being woken can end a wait in time.
fn patient() -> Recorder {
    Recorder::builder().with_patience(Duration::from_secs(3_600)).build()
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn resolves_when_the_spans_have_finished() {
    let recorder = patient();
    let tracer = recorder.tracer_provider().tracer("test");
    tracer.start("first").end();
    recorder.wait_for_spans(1).await;

    let mut span = tracer.start("second");
    let waiting = tokio::spawn({
        let recorder = recorder.clone();
        async move { recorder.wait_for_spans(2).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    span.end();
    timeout(SOON, waiting).await.expect("it is woken").expect("it resolves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_waiters_are_woken_from_another_thread() {
    let recorder = patient();
    let tracer = recorder.tracer_provider().tracer("test");
    let cx = Context::new().with_span(tracer.start("one"));
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let recorder = recorder.clone();
            tokio::spawn(async move { recorder.wait_until_finished().await })
        })
        .collect();
    std::thread::spawn(move || cx.span().end()).join().expect("the thread ends");
    for task in waiting {
        timeout(SOON, task).await.expect("it is woken").expect("it resolves");
    }
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn gives_up_with_the_tree() {
    let recorder = Recorder::builder().with_patience(Duration::from_millis(20)).build();
    let _open = recorder.tracer_provider().tracer("test").start("stuck");
    let waiting = tokio::spawn({
        let recorder = recorder.clone();
        async move { recorder.wait_until_finished().await }
    });
    let panic = waiting.await.expect_err("it gives up").into_panic();
    let text = panic.downcast_ref::<String>().expect("a message");
    assert!(text.contains("waited 20ms") && text.contains("not finished: INTERNAL stuck"), "{text}");
}
