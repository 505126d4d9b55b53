//! The bulkhead: calls at once, waits, refusals.

use std::time::Duration;

use futures_util::future::join_all;
use opentelemetry::trace::{FutureExt, TraceContextExt};
use otel_resilience::{BulkheadLayer, ResilienceError};
use otel_testing::Recorder;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Backend, attribute, caller, error_type, events, found, get, instrumentation};

const SECOND: Duration = Duration::from_secs(1);

fn bulkhead(recorder: &Recorder, most: usize) -> BulkheadLayer {
    BulkheadLayer::new("search", most).with_instrumentation(&instrumentation(recorder))
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_place_is_refused_at_once_and_has_a_span() {
    let recorder = Recorder::new();
    let layer = bulkhead(&recorder, 2);
    let backend = Backend::new([]).with_delay(SECOND);
    let context = caller(&recorder);
    let before = Instant::now();
    // Services of one layer and of its clones share the places.
    let calls = (0..5).map(|_| layer.clone().layer(backend.client(&recorder)).oneshot(get()));
    let results = join_all(calls).with_context(context.clone()).await;
    assert_eq!(before.elapsed().as_secs(), 1);
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err().map(found)).collect();
    assert_eq!(errors, vec![ResilienceError::BulkheadFull { name: "search".into() }; 3]);
    assert_eq!(backend.calls(), 2);
    context.span().end();
    recorder.assert_clean();
    let spans = recorder.spans();
    let refused: Vec<_> = spans.iter().filter(|span| span.name == "bulkhead search").collect();
    assert_eq!(refused.len(), 3, "{}", recorder.tree());
    for span in refused {
        assert_eq!(error_type(span).as_deref(), Some("bulkhead_full"));
        assert_eq!(span.parent_span_id, context.span().span_context().span_id());
    }
    assert_eq!(recorder.metric("resilience.refused_calls").with("error.type", "bulkhead_full").sum(), 3.0);
    assert_eq!(recorder.metric("resilience.wait.duration").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn waits_are_recorded() {
    let recorder = Recorder::new();
    let layer = bulkhead(&recorder, 1).with_max_wait(SECOND * 5 / 2);
    let service = layer.layer(Backend::new([]).with_delay(SECOND).client(&recorder));
    let context = caller(&recorder);
    // At 0, 1 and 2 s; the fourth has waited too long.
    let results =
        join_all((0..4).map(|_| service.clone().oneshot(get()))).with_context(context.clone()).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    context.span().end();
    recorder.assert_clean();
    let waits = recorder.metric("resilience.wait.duration").with("resilience.pattern", "bulkhead");
    assert_eq!(waits.count(), 3);
    assert!((3.0..3.1).contains(&waits.sum()), "{}", recorder.metrics());
    let refused = recorder.span("bulkhead search");
    let waited: f64 = attribute(&refused, "resilience.wait.time").unwrap().parse().unwrap();
    assert!((2.5..2.6).contains(&waited), "{waited}");
    let events = events(&recorder.span("caller"), "resilience.wait");
    assert_eq!(events.len(), 2, "the first call did not wait: {events:?}");
}

/// More calls than places, in waves, with some that are dropped and some that fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_each_call_ends_once_and_no_place_is_lost() {
    let recorder = Recorder::new();
    let layer = bulkhead(&recorder, 4).with_max_wait(Duration::from_millis(3));
    let answers = (0..50).map(|call| if call % 3 == 0 { Answer::Error } else { Answer::Status(200) });
    let backend = Backend::new(answers).with_delay(Duration::from_millis(2));
    let service = layer.layer(backend.client(&recorder));
    let calls: Vec<_> = (0..300_u64)
        .map(|call| {
            let service = service.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(call % 10)).await;
                let limit = Duration::from_millis(if call % 7 == 0 { 1 } else { 10_000 });
                match tokio::time::timeout(limit, service.oneshot(get())).await {
                    Err(_) => "dropped",
                    Ok(Ok(_)) => "sent",
                    Ok(Err(error)) if error.is::<std::io::Error>() => "sent",
                    Ok(Err(error)) => found(&error).error_type(),
                }
            })
        })
        .collect();
    let mut ends = std::collections::BTreeMap::<_, u64>::new();
    for call in calls {
        *ends.entry(call.await.unwrap()).or_default() += 1;
    }
    recorder.assert_clean();
    let refused = ends.get("bulkhead_full").copied().unwrap_or_default();
    assert!(refused > 0 && ends["sent"] > 0, "{ends:?}");
    let spans = recorder.spans();
    let (attempts, refusals) = spans.iter().partition::<Vec<_>, _>(|span| span.name == "GET");
    assert_eq!(recorder.metric("resilience.refused_calls").sum() as u64, refused);
    assert_eq!(refusals.len() as u64, refused);
    assert_eq!(recorder.metric("resilience.wait.duration").count() as usize, attempts.len());
    assert_eq!(recorder.metric("http.client.request.duration").count() as usize, attempts.len());
    // All four places are free again.
    let results = join_all((0..4).map(|_| service.clone().oneshot(get()))).await;
    let is_sent = |error: &otel_resilience::BoxError| error.is::<std::io::Error>();
    assert!(results.iter().all(|result| result.as_ref().err().is_none_or(is_sent)), "{results:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_out_of_range_is_limited() {
    for most in [0, usize::MAX] {
        let recorder = Recorder::new();
        let service = bulkhead(&recorder, most).layer(Backend::new([]).client(&recorder));
        service.oneshot(get()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_held_up_to_the_head_of_the_response() {
    let recorder = Recorder::new();
    let service = bulkhead(&recorder, 1).layer(Backend::new([]).client(&recorder));
    let unread = service.clone().oneshot(get()).await.unwrap();
    service.oneshot(get()).await.unwrap();
    drop(unread);
}
