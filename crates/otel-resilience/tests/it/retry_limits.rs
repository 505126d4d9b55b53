//! The limits of retries: attempts, the budget, the server's `Retry-After`, the deadline.

use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use otel_request::Deadline;
use otel_resilience::{Retry, RetryBudget, RetryLayer};
use otel_testing::Recorder;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Backend, attribute, get, instrumentation};

fn retry(recorder: &Recorder) -> Retry {
    Retry::new("stock").with_span(true).with_instrumentation(&instrumentation(recorder))
}

/// Calls the backend once; returns the calls that it saw, the time and the limit that ended the retries.
async fn run(recorder: &Recorder, retry: Retry, backend: &Backend) -> (usize, Duration, Option<String>) {
    let before = Instant::now();
    let service = RetryLayer::new(retry).layer(backend.client(recorder));
    service.oneshot(get()).await.unwrap();
    recorder.assert_clean();
    let logical = recorder.span("stock");
    let limit = logical.events.iter().find(|event| event.name == "resilience.retry.exhausted");
    let limit = limit.map(|event| {
        let limit = event.attributes.iter().find(|kv| kv.key.as_str() == "resilience.retry.limit");
        limit.unwrap().value.to_string()
    });
    if let Some(limit) = &limit {
        let metric = recorder.metric("resilience.retry.exhausted_calls");
        assert_eq!(metric.with("resilience.retry.limit", limit.clone()).sum(), 1.0);
    }
    (backend.calls(), before.elapsed(), limit)
}

#[tokio::test(start_paused = true)]
async fn attempts_are_limited() {
    for most in [0, 1, 2, 5] {
        let recorder = Recorder::new();
        let backend = Backend::always(Answer::Status(503));
        let retry = retry(&recorder).with_max_attempts(most);
        let (calls, _, limit) = run(&recorder, retry, &backend).await;
        assert_eq!((calls, limit.as_deref()), (most.max(1) as usize, Some("attempts")));
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_in_seconds_and_as_a_date() {
    let date = httpdate(SystemTime::now() + Duration::from_secs(8));
    for (text, least, most) in [("7", 7.0, 7.1), (&date, 6.0, 8.1), ("0", 0.0, 0.1), ("later", 0.0, 0.1)] {
        let recorder = Recorder::new();
        let backend = Backend::new([Answer::After(text.to_owned())]);
        let (calls, took, limit) = run(&recorder, retry(&recorder), &backend).await;
        assert_eq!((calls, limit), (2, None), "{text}");
        assert!((least..most).contains(&took.as_secs_f64()), "{text}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_the_maximum_ends_the_retries() {
    for (text, calls) in [("30", 2), ("31", 1), ("99999999999999999999", 1)] {
        let recorder = Recorder::new();
        let backend = Backend::new([Answer::After(text.to_owned())]);
        let (seen, took, limit) = run(&recorder, retry(&recorder), &backend).await;
        assert_eq!((seen, limit.as_deref()), (calls, (calls == 1).then_some("retry_after")), "{text}");
        assert!(calls == 2 || took < Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_deadline_ends_the_retries() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::After("2".to_owned())]);
    let context = Deadline::after(Duration::from_secs(1)).in_context(&Context::new());
    let (calls, took, limit) = run(&recorder, retry(&recorder), &backend).with_context(context).await;
    assert_eq!((calls, limit.as_deref()), (1, Some("deadline")));
    assert!(took < Duration::from_millis(1));
    let attempt = recorder.span("GET");
    let left: f64 = attribute(&attempt, "resilience.deadline.remaining").unwrap().parse().unwrap();
    assert!((0.9..=1.0).contains(&left), "{left}");
}

/// 1,000 calls in one second to a backend that always fails.
#[tokio::test(start_paused = true)]
async fn at_full_failure_the_budget_bounds_the_attempts() {
    let recorder = Recorder::new();
    let backend = Backend::always(Answer::Status(503));
    let budget = RetryBudget::new(0.1, 1);
    let retry = retry(&recorder).with_budget(budget).with_max_attempts(5);
    let service = RetryLayer::new(retry).layer(backend.client(&recorder));
    let calls: Vec<_> = (0..1_000_u64)
        .map(|call| {
            let service = service.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(call)).await;
                service.oneshot(get()).await.unwrap().status()
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 503);
    }
    let resends = backend.calls() - 1_000;
    // A tenth of the calls, and one a second for ten seconds.
    assert!((100..=110).contains(&resends), "{resends}");
    recorder.assert_clean();
    let spans = recorder.spans();
    let (attempts, logical) = spans.iter().partition::<Vec<_>, _>(|span| span.name == "GET");
    assert_eq!((attempts.len(), logical.len()), (1_000 + resends, 1_000));
    let resent = attempts.iter().filter(|span| attribute(span, "http.request.resend_count").is_some());
    assert_eq!(resent.count(), resends);
    assert_eq!(recorder.metric("resilience.retry.resends").sum(), resends as f64);
    assert_eq!(recorder.metric("http.client.request.duration").count() as usize, attempts.len());
    let events = |name: &str| {
        logical.iter().flat_map(|span| span.events.iter()).filter(|one| one.name == name).count()
    };
    assert_eq!(events("resilience.retry"), resends);
    assert_eq!(events("resilience.retry.exhausted"), 1_000, "each call failed at a limit");
    let exhausted = recorder.metric("resilience.retry.exhausted_calls");
    assert_eq!(exhausted.sum(), 1_000.0);
    assert!(exhausted.with("resilience.retry.limit", "budget").sum() > 800.0);
}

fn httpdate(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
