//! Streams and fan-out: a span for each item, errors each recorded, siblings of a failure cancelled.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use opentelemetry::trace::{FutureExt as _, SpanId};
use otel_tasks::{MapTraced as _, join_all, try_join_all};
use otel_testing::Recorder;

use crate::support::{attribute, current, error_type, remote, span};

async fn square(number: u32) -> Result<(u32, SpanId), String> {
    tokio::task::yield_now().await;
    if number == 13 { Err(String::from("unlucky")) } else { Ok((number * number, current())) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_item_of_a_stream_has_a_span() {
    let recorder = Recorder::new();
    let squares = stream::iter(1..=10).map_traced(span(&recorder, "square"), square);
    let squares: Vec<_> = squares.buffered(3).try_collect().with_context(remote(7, true)).await.unwrap();
    let values: Vec<_> = squares.iter().map(|(value, _)| *value).collect();
    assert_eq!(values, (1..=10).map(|number| number * number).collect::<Vec<_>>());
    let mut spans: Vec<_> = recorder.spans().iter().map(|span| span.span_context.span_id()).collect();
    let mut seen: Vec<_> = squares.iter().map(|(_, span)| *span).collect();
    spans.sort_by_key(SpanId::to_string);
    seen.sort_by_key(SpanId::to_string);
    assert_eq!(spans, seen);
    assert!(recorder.spans().iter().all(|span| span.parent_span_id == SpanId::from(7)));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_stage_that_fails_leaves_nothing_open() {
    let recorder = Recorder::new();
    let first = stream::iter(10..20).map_traced(span(&recorder, "first"), square).buffered(4);
    let second = first
        .map_ok(|(value, _)| span(&recorder, "second").wrap(async move { Ok::<_, String>(value) }))
        .try_buffer_unordered(2);
    let result: Result<Vec<_>, _> = second.try_collect().await;
    assert_eq!(result, Err(String::from("unlucky")));
    recorder.assert_clean();
    let failed = recorder.spans().iter().filter(|span| error_type(span).as_deref() == Some("_OTHER")).count();
    assert_eq!(failed, 1);
}

#[tokio::test]
async fn several_errors_are_each_recorded() {
    let recorder = Recorder::new();
    let results = join_all(span(&recorder, "square"), [13, 2, 13].map(square)).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
    let failed = recorder.spans().iter().filter(|span| error_type(span).is_some()).count();
    assert_eq!((failed, recorder.spans().len()), (2, 3));
    let durations = recorder.metric("task.duration").with("error.type", "_OTHER");
    assert_eq!(durations.count(), 2);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_siblings_of_a_failure_are_cancelled() {
    let recorder = Recorder::new();
    for count in [3, 60] {
        let recorder = if count == 3 { recorder.clone() } else { Recorder::new() };
        let tasks = (0..count).map(|number| async move {
            match number {
                0 => Ok(()),
                1 => Err("unlucky"),
                _ => std::future::pending().await,
            }
        });
        assert_eq!(try_join_all(span(&recorder, "work"), tasks).await, Err("unlucky"));
        recorder.assert_clean();
        let spans = recorder.spans();
        let cancelled: Vec<_> =
            spans.iter().filter_map(|span| attribute(span, "task.cancellation.reason")).collect();
        assert_eq!(cancelled, vec!["sibling_failed"; count - 2]);
        assert_eq!(spans.iter().filter(|span| error_type(span).as_deref() == Some("_OTHER")).count(), 1);
    }
    let all = try_join_all(span(&recorder, "good"), [1, 2].map(square)).await.unwrap();
    assert_eq!(all.iter().map(|(value, _)| *value).collect::<Vec<_>>(), [1, 4]);
}
