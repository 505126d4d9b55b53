//! The rate limit: calls in a period, waits, refusals.

use std::time::Duration;

use otel_resilience::{RateLimitLayer, ResilienceError};
use otel_testing::Recorder;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::support::{Backend, error_type, found, get, instrumentation};

const SECOND: Duration = Duration::from_secs(1);

fn limit(recorder: &Recorder, most: usize) -> RateLimitLayer {
    RateLimitLayer::new("geocoder", most, SECOND).with_instrumentation(&instrumentation(recorder))
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_are_refused_until_the_next_period() {
    let recorder = Recorder::new();
    let layer = limit(&recorder, 3);
    let backend = Backend::new([]);
    let call = async || {
        layer.clone().layer(backend.client(&recorder)).oneshot(get()).await.map_err(|error| found(&error))
    };
    for period in 1..=3 {
        for _ in 0..3 {
            call().await.unwrap();
        }
        assert_eq!(call().await.unwrap_err(), ResilienceError::RateLimited { name: "geocoder".into() });
        assert_eq!(backend.calls(), 3 * period);
        tokio::time::sleep(SECOND).await;
    }
    recorder.assert_clean();
    let spans = recorder.spans();
    let refused: Vec<_> = spans.iter().filter(|span| span.name == "rate_limit geocoder").collect();
    assert_eq!(refused.len(), 3, "{}", recorder.tree());
    assert!(refused.iter().all(|span| error_type(span).as_deref() == Some("rate_limited")));
    let metric = recorder.metric("resilience.refused_calls").with("resilience.pattern", "rate_limit");
    assert_eq!(metric.with("error.type", "rate_limited").sum(), 3.0);
}

#[tokio::test(start_paused = true)]
async fn waits_are_recorded() {
    let recorder = Recorder::new();
    let service = limit(&recorder, 1).with_max_wait(SECOND * 3 / 2).layer(Backend::new([]).client(&recorder));
    let before = Instant::now();
    service.clone().oneshot(get()).await.unwrap();
    service.oneshot(get()).await.unwrap();
    assert!((1_000..1_050).contains(&before.elapsed().as_millis()), "{:?}", before.elapsed());
    let waits = recorder.metric("resilience.wait.duration").with("resilience.pattern", "rate_limit");
    assert_eq!(waits.count(), 2);
    assert!((1.0..1.1).contains(&waits.sum()), "{}", recorder.metrics());
}

#[tokio::test(start_paused = true)]
async fn a_limit_out_of_range_is_limited() {
    for (most, period) in [(0, Duration::ZERO), (usize::MAX, Duration::MAX)] {
        let recorder = Recorder::new();
        let layer = RateLimitLayer::new("a", most, period).with_instrumentation(&instrumentation(&recorder));
        layer.layer(Backend::new([]).client(&recorder)).oneshot(get()).await.unwrap();
    }
}
