//! Spans on request: name, kind, parent or link, attributes, queue time, filter; and the metrics of tasks.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{FutureExt as _, SpanId, SpanKind};
use otel_operation::Outcome;
use otel_tasks::{
    JoinSet, TaskInstrumentation, TaskSpan, TaskTracker, in_context, in_span, in_span_sync, in_span_with,
    spawn_blocking_with_span, spawn_with_span,
};
use otel_testing::Recorder;

use crate::support::{attribute, current, options, remote, span, tasks};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_spawn_makes_one_span_under_the_caller() {
    let recorder = Recorder::new();
    let spawned = async {
        spawn_with_span(span(&recorder, "spawn"), async {}).await.unwrap();
        spawn_blocking_with_span(span(&recorder, "spawn_blocking"), || 1).await.unwrap();
        let mut set = JoinSet::new();
        set.spawn_with_span(span(&recorder, "set"), async { 2 });
        set.spawn_blocking_with_span(span(&recorder, "set_blocking"), || 3);
        assert_eq!(set.join_all().await.into_iter().sum::<i32>(), 5);
        let tracker = TaskTracker::new();
        tracker.spawn_with_span(span(&recorder, "tracker"), async {}).await.unwrap();
        tracker.spawn_blocking_with_span(span(&recorder, "tracker_blocking"), || ()).await.unwrap();
        tokio::spawn(span(&recorder, "wrapped").wrap(async {})).await.unwrap();
        std::thread::spawn(span(&recorder, "thread").wrap_blocking(|| ())).join().unwrap();
    };
    spawned.with_context(remote(7, true)).await;
    recorder.wait_for_spans(8).await;
    recorder.assert_clean();
    for one in recorder.spans() {
        assert_eq!(one.parent_span_id, SpanId::from(7), "{}", one.name);
        assert_eq!(one.span_kind, SpanKind::Internal);
        assert!(attribute(&one, "task.queue.time").is_some(), "{}", one.name);
        let durations = recorder.metric("task.duration").with("task.name", one.name.to_string());
        assert_eq!(durations.without("error.type").count(), 1, "{}", one.name);
        let waits = recorder.metric("task.queue.duration").with("task.name", one.name.to_string());
        assert_eq!(waits.count(), 1, "{}", one.name);
    }
}

#[tokio::test]
async fn a_span_is_described_by_its_caller() {
    let recorder = Recorder::new();
    let described = span(&recorder, "resize")
        .with_kind(SpanKind::Consumer)
        .with_attributes(|| vec![KeyValue::new("image.format", "png")]);
    let inner = span(&recorder, "read");
    let seen = in_span(described, async {
        in_span_with(inner, async { current() }, |_| Outcome::ok()).await.to_string()
    });
    let seen = seen.await;
    assert_eq!(recorder.span("read").span_context.span_id().to_string(), seen);
    assert_eq!(recorder.tree(), "CONSUMER resize\n│   image.format: png\n└── INTERNAL read\n");
    assert_eq!(recorder.metrics(), "", "a part of a function has no metrics");
    recorder.assert_clean();
}

#[test]
fn a_synchronous_part_is_a_span_too() {
    let recorder = Recorder::new();
    let seen = in_span_sync(span(&recorder, "parse"), || current().to_string());
    assert_eq!(recorder.span("parse").span_context.span_id().to_string(), seen);
    assert_eq!(current(), SpanId::INVALID);
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_nobody_waits_for_starts_a_linked_trace() {
    let recorder = Recorder::new();
    let caller = remote(7, true).with_baggage([KeyValue::new("tenant", "acme")]);
    let task = in_context(&caller, || {
        spawn_with_span(span(&recorder, "refresh").with_new_trace(), async {
            opentelemetry::Context::current().baggage().get("tenant").map(ToString::to_string)
        })
    });
    assert_eq!(task.await.unwrap().as_deref(), Some("acme"));
    let refresh = recorder.span("refresh");
    assert_eq!(refresh.parent_span_id, SpanId::INVALID);
    assert_ne!(refresh.span_context.trace_id(), 7.into());
    let links: Vec<_> = refresh.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(links, [SpanId::from(7)]);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_queue_time_ends_with_the_first_poll() {
    let recorder = Recorder::new();
    let queued = Duration::from_millis(20);
    let task = span(&recorder, "queued").wrap(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    std::thread::sleep(queued);
    let polled = std::time::Instant::now();
    task.await;
    let ran = polled.elapsed();
    let queued_time: f64 = attribute(&recorder.span("queued"), "task.queue.time").unwrap().parse().unwrap();
    assert!(queued_time >= queued.as_secs_f64(), "{queued_time}");
    let duration = recorder.metric("task.duration").sum();
    assert!((duration - queued_time) <= ran.as_secs_f64() + 0.001, "the duration has the queue time in it");
    assert!((recorder.metric("task.queue.duration").sum() - queued_time).abs() < 1e-9);
}

#[tokio::test]
async fn a_task_is_active_from_its_spawn_to_its_end() {
    let recorder = Recorder::new();
    let task = span(&recorder, "job").wrap(async {});
    let active = || recorder.metric("task.active").with("task.name", "job").sum();
    assert_eq!(active(), 1.0);
    task.await;
    assert_eq!(active(), 0.0);
}

#[tokio::test]
async fn attributes_are_not_built_for_a_span_that_does_not_record() {
    let recorder = Recorder::builder()
        .with_sampler(opentelemetry_sdk::trace::Sampler::ParentBased(Box::new(
            opentelemetry_sdk::trace::Sampler::AlwaysOn,
        )))
        .build();
    let unsampled = span(&recorder, "unsampled").with_attributes(|| unreachable!("nothing records"));
    let seen = in_span_with(unsampled, async { current() }, |_| Outcome::ok());
    let seen = seen.with_context(remote(7, false)).await;
    assert!(seen != SpanId::from(7) && seen != SpanId::INVALID, "it has an id of its own: {seen}");
    assert_eq!(recorder.spans().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_filter_leaves_out_carries_the_context_on() {
    let recorder = Recorder::new();
    let tasks = TaskInstrumentation::new(options(&recorder).with_filter(|name| name != "noise"));
    let noise = || TaskSpan::new("noise").with_instrumentation(&tasks);
    let spawned = async {
        let task = spawn_with_span(noise(), async { current().to_string() });
        let linked = spawn_with_span(noise().with_new_trace(), async { current().to_string() });
        (task.await.unwrap(), linked.await.unwrap())
    };
    let seen = spawned.with_context(remote(7, true)).await;
    assert_eq!(seen, (SpanId::from(7).to_string(), SpanId::INVALID.to_string()));
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
}

#[test]
fn names_beyond_the_limit_share_their_metrics() {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    for number in 0..600 {
        let span = TaskSpan::new(format!("task {number}")).with_instrumentation(&tasks);
        span.wrap_blocking(|| ())();
    }
    assert_eq!(recorder.metric("task.duration").with("task.name", "_OTHER").count(), 88);
    assert_eq!(recorder.metric("task.duration").points().len(), 513);
    recorder.assert_clean();
}
