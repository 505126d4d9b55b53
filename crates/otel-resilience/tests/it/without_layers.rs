//! The behaviour of plain tower and tower-resilience, on which this crate's design and the comparison in its README rest.

use std::time::Duration;

use http::{Request, Response};
use otel_testing::Recorder;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, CircuitBreakerLayer as Breaker};

use crate::support::{Answer, Backend, Body, attribute, error_type, get};

fn closed_after(failures: usize) -> (Breaker, usize) {
    let builder = CircuitBreakerLayer::builder().failure_rate_threshold(0.5).sliding_window_size(10);
    (builder.minimum_number_of_calls(10).build().unwrap(), failures)
}

#[tokio::test]
async fn the_counted_window_of_tower_resilience_does_not_slide() {
    let recorder = Recorder::new();
    let (layer, failures) = closed_after(199);
    let backend = Backend::new([]);
    let service = layer.layer(backend.client(&recorder));
    for _ in 0..200 {
        service.clone().oneshot(get()).await.unwrap();
    }
    for _ in 0..failures {
        backend.push(Answer::Error);
        service.clone().oneshot(get()).await.unwrap_err();
    }
    assert!(!service.is_open(), "199 failures in a row, with a window of 10 calls");
    backend.push(Answer::Error);
    service.clone().oneshot(get()).await.unwrap_err();
    assert!(service.is_open(), "half of all calls since the last change of the state");
    let spans = recorder.spans().len();
    service.clone().oneshot(get()).await.unwrap_err();
    assert_eq!(recorder.spans().len(), spans, "a refused call leaves no trace");
}

/// A policy of tower's retry that repeats each 503.
#[derive(Clone)]
struct Repeat;

impl tower::retry::Policy<Request<Body>, Response<Body>, std::io::Error> for Repeat {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut std::io::Result<Response<Body>>,
    ) -> Option<Self::Future> {
        result.as_ref().is_ok_and(|response| response.status() == 503).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_of_towers_retry_are_not_counted_and_know_no_retry_after() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::After("60".to_owned()), Answer::Status(503)]);
    let service = tower::retry::Retry::new(Repeat, backend.client(&recorder));
    let before = tokio::time::Instant::now();
    service.oneshot(get()).await.unwrap();
    assert_eq!((backend.calls(), before.elapsed()), (3, Duration::ZERO));
    let counts: Vec<_> =
        recorder.spans().iter().filter_map(|span| attribute(span, "http.request.resend_count")).collect();
    assert!(counts.is_empty(), "{}", recorder.tree());
}

#[tokio::test(start_paused = true)]
async fn a_time_out_outside_of_a_breaker_never_opens_it() {
    let recorder = Recorder::new();
    let (layer, calls) = closed_after(20);
    let breaker = layer.layer(Backend::always(Answer::Hang).client(&recorder));
    let service = ServiceBuilder::new().timeout(Duration::from_secs(1)).service(breaker.clone());
    for _ in 0..calls {
        service.clone().oneshot(get()).await.unwrap_err();
    }
    assert!(!breaker.is_open());
    let spans = recorder.spans();
    assert_eq!(spans.len(), calls);
    let are_cancelled = spans.iter().all(|span| error_type(span).as_deref() == Some("cancelled"));
    assert!(are_cancelled, "the time-out is not visible inside of it: {}", recorder.tree());
}
