//! The behaviour of plain tower and tower-resilience, on which this crate's design and the comparison in its README rest.

use std::time::Duration;

use otel_testing::Recorder;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, CircuitBreakerLayer as Breaker};

use crate::support::{Answer, Backend, error_type, get};

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
