//! Tasks and channels before and after the global providers are set. A separate process, because the test sets globals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, global};
use otel_tasks::sync::mpsc;
use otel_tasks::{in_span, spawn_with_span};
use otel_testing::Recorder;

fn caller() -> Context {
    let (trace, span) = (TraceId::from(7), SpanId::from(7));
    let caller = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
    Context::new().with_remote_span_context(caller)
}

fn current() -> SpanId {
    Context::map_current(|context| context.span().span_context().span_id())
}

/// Returns the spans that are current in a task, in a part of a function and in the processing of an item.
async fn work() -> [SpanId; 3] {
    let task = spawn_with_span("task", async { current().to_string() }).await.unwrap();
    let part = in_span("part", async { current().to_string() }).await;
    let (sender, mut receiver) = mpsc::channel("jobs", 1);
    sender.try_send(()).unwrap();
    let item = receiver.process(async |()| current().to_string()).await.unwrap();
    [task, part, item].map(|id| SpanId::from_hex(&id).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_recorded_as_soon_as_an_sdk_is_set() {
    // Sent without an SDK and received with one: it was not counted, so that its end is not either.
    let (early, mut receiver) = mpsc::channel("early", 4);
    early.try_send(()).unwrap();
    for _ in 0..3 {
        assert_eq!(work().with_context(caller()).await, [SpanId::from(7); 3], "the context goes along");
    }
    let recorder = Recorder::new();
    global::set_tracer_provider(recorder.tracer_provider().clone());
    global::set_meter_provider(recorder.meter_provider().clone());
    let seen = work().with_context(caller()).await;
    let recorded = ["task", "part", "process jobs"].map(|name| recorder.span(name).span_context.span_id());
    assert_eq!(seen, recorded);
    assert!(recorder.spans().iter().all(|span| span.parent_span_id == SpanId::from(7)));
    for metric in
        ["task.duration", "task.queue.duration", "channel.process.duration", "channel.queue.duration"]
    {
        assert_eq!(recorder.metric(metric).count(), 1, "{metric}");
    }
    early.try_send(()).unwrap();
    receiver.recv().await.unwrap();
    assert_eq!(recorder.metric("channel.queue.depth").with("channel.name", "early").sum(), 1.0);
    receiver.recv().await.unwrap();
    assert_eq!(recorder.metric("channel.queue.depth").with("channel.name", "early").sum(), 0.0);
    recorder.assert_clean();
}
