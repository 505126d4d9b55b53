//! The client side of deadlines: the header, the end of a call, refusals.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, Request, Response};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, Status};
use otel_resilience::{
    BoxError, Deadline, DeadlineHeader, DeadlineLayer, ResilienceError, Retry, RetryLayer,
};
use otel_testing::Recorder;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use crate::support::{Answer, Backend, Body, attribute, error_type, found, get, instrumentation};

const HEADER: HeaderName = HeaderName::from_static("x-timeout-ms");

fn layer(recorder: &Recorder) -> DeadlineLayer {
    let layer = DeadlineLayer::new().with_header(DeadlineHeader::milliseconds(HEADER));
    layer.with_instrumentation(&instrumentation(recorder))
}

fn within(ms: u64) -> Context {
    Deadline::after(Duration::from_millis(ms)).in_context(&Context::new())
}

fn sent(backend: &Backend) -> Vec<Option<String>> {
    let read =
        |headers: &http::HeaderMap| headers.get(HEADER).map(|value| value.to_str().unwrap().to_owned());
    backend.requests().iter().map(read).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_the_deadline_and_is_a_time_out() {
    for by_context in [true, false] {
        let recorder = Recorder::new();
        let backend = Backend::always(Answer::Hang);
        let before = Instant::now();
        let result = if by_context {
            layer(&recorder).layer(backend.client(&recorder)).oneshot(get()).with_context(within(300)).await
        } else {
            let layer = layer(&recorder).with_timeout(Duration::from_millis(300));
            layer.layer(backend.client(&recorder)).oneshot(get()).await
        };
        assert_eq!(found(&result.unwrap_err()), ResilienceError::TimedOut);
        assert!((300..310).contains(&before.elapsed().as_millis()), "{:?}", before.elapsed());
        recorder.assert_clean();
        let span = recorder.span("GET");
        assert_eq!(error_type(&span).as_deref(), Some("timeout"), "{}", recorder.tree());
        assert_eq!(span.status, Status::error(""));
        let duration = recorder.metric("http.client.request.duration");
        assert_eq!(duration.with("error.type", "timeout").count(), 1);
        assert_eq!(sent(&backend), [Some("300".to_owned())]);
        assert_eq!(recorder.spans().len(), 1, "{}", recorder.tree());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_caller_drops_is_still_cancelled() {
    let recorder = Recorder::new();
    let service = layer(&recorder).layer(Backend::always(Answer::Hang).client(&recorder));
    let call = service.oneshot(get()).with_context(within(300));
    tokio::time::timeout(Duration::from_millis(100), call).await.unwrap_err();
    assert_eq!(error_type(&recorder.span("GET")).as_deref(), Some("cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_around_a_retry_ends_the_logical_call_and_its_attempt() {
    let recorder = Recorder::new();
    let retry = Retry::new("stock").with_span(true).with_instrumentation(&instrumentation(&recorder));
    let retry = RetryLayer::new(retry).layer(Backend::always(Answer::Hang).client(&recorder));
    let call = layer(&recorder).layer(retry).oneshot(get()).with_context(within(300));
    assert_eq!(found(&call.await.unwrap_err()), ResilienceError::TimedOut);
    recorder.assert_clean();
    for name in ["stock", "GET"] {
        assert_eq!(error_type(&recorder.span(name)).as_deref(), Some("timeout"), "{}", recorder.tree());
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_sends_the_time_that_is_left_then() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::After("1".into()), Answer::After("2".into())])
        .with_delay(Duration::from_millis(5));
    let retry = Retry::new("stock").with_instrumentation(&instrumentation(&recorder));
    let service = RetryLayer::new(retry).layer(layer(&recorder).layer(backend.client(&recorder)));
    service.oneshot(get()).with_context(within(4_000)).await.unwrap();
    let sent: Vec<u64> = sent(&backend).into_iter().map(|value| value.unwrap().parse().unwrap()).collect();
    assert_eq!(sent[0], 4_000);
    assert!((2_980..=2_995).contains(&sent[1]) && (970..=990).contains(&sent[2]), "{sent:?}");
    let left: Vec<f64> = recorder
        .spans()
        .iter()
        .map(|span| attribute(span, "resilience.deadline.remaining").unwrap().parse().unwrap())
        .collect();
    for (left, sent) in left.iter().zip(&sent) {
        assert!((left * 1_000.0 - *sent as f64).abs() < 1.5, "{left} {sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_the_time_out_inside_of_the_retry() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Hang, Answer::Hang]);
    let retry = Retry::new("stock").with_instrumentation(&instrumentation(&recorder));
    let attempt = layer(&recorder).with_timeout(Duration::from_secs(1)).layer(backend.client(&recorder));
    let mut service = RetryLayer::new(retry).layer(attempt);
    let call = {
        let _attached = within(10_000).attach();
        service.call(get())
    };
    // Polled where no context is current.
    call.await.unwrap();
    assert_eq!(sent(&backend), vec![Some("1000".to_owned()); 3]);
    for span in recorder.spans() {
        assert_eq!(
            attribute(&span, "resilience.deadline.remaining").as_deref(),
            Some("1"),
            "{}",
            recorder.tree()
        );
    }
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_make_it_is_refused_and_has_a_span_of_its_own() {
    for (left, minimum, reserve) in [(0, 0, 0), (9, 10, 0), (30, 10, 21), (10, 0, 20)] {
        let recorder = Recorder::new();
        let backend = Backend::new([]);
        let ms = Duration::from_millis;
        let layer = layer(&recorder).with_minimum(ms(minimum)).with_reserve(ms(reserve));
        let call = layer.layer(backend.client(&recorder)).oneshot(get()).with_context(within(left));
        let error = call.await.unwrap_err();
        assert_eq!(found(&error), ResilienceError::DeadlineRefused, "{left} {minimum} {reserve}");
        assert_eq!(backend.calls(), 0);
        recorder.assert_clean();
        let spans = recorder.spans();
        assert_eq!((spans.len(), &*spans[0].name), (1, "deadline"), "{}", recorder.tree());
        assert_eq!(error_type(&spans[0]).as_deref(), Some("deadline_exceeded"));
        let refused = recorder.metric("resilience.refused_calls");
        let refused = refused.with("resilience.pattern", "deadline").with("error.type", "deadline_exceeded");
        assert_eq!(refused.sum(), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_reserve_is_taken_off_and_no_deadline_sends_nothing() {
    let recorder = Recorder::new();
    let backend = Backend::new([]);
    let service = layer(&recorder).with_reserve(Duration::from_millis(50)).layer(backend.client(&recorder));
    service.clone().oneshot(get()).with_context(within(200)).await.unwrap();
    service.oneshot(get()).await.unwrap();
    assert_eq!(sent(&backend), [Some("150".to_owned()), None]);
    assert_eq!(attribute(&recorder.spans()[1], "resilience.deadline.remaining"), None);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_all_limits_is_the_deadline_of_the_code_inside() {
    for (context, timeout, header, expected) in [
        (Some(500), Some(200), None, 200),
        (Some(100), Some(200), None, 100),
        (None, Some(200), Some("150"), 150),
        (Some(100), None, Some("150"), 100),
        (None, None, Some("150"), 150),
        (None, Some(200), Some("soon"), 200),
    ] {
        let recorder = Recorder::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let inner = Arc::clone(&seen);
        let service = tower::service_fn(move |request: Request<Body>| {
            let seen = Arc::clone(&inner);
            let at_call = Deadline::current();
            async move {
                let header = request.headers().get(HEADER).unwrap().to_str().unwrap().to_owned();
                tokio::task::yield_now().await;
                seen.lock()
                    .unwrap()
                    .extend([at_call, Deadline::current()].map(|one| one.unwrap().remaining()));
                Ok::<_, BoxError>(Response::builder().header("seen", header).body(Body::default()).unwrap())
            }
        });
        let mut layer = layer(&recorder);
        if let Some(timeout) = timeout {
            layer = layer.with_timeout(Duration::from_millis(timeout));
        }
        let mut request = get();
        if let Some(header) = header {
            request.headers_mut().insert(HEADER, header.parse().unwrap());
        }
        let context = context.map_or_else(Context::new, within);
        let response = layer.layer(service).oneshot(request).with_context(context).await.unwrap();
        assert_eq!(response.headers()["seen"], expected.to_string());
        assert_eq!(*seen.lock().unwrap(), [Duration::from_millis(expected); 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_is_deadline_exceeded() {
    for header in [true, false] {
        let recorder = Recorder::new();
        let hang =
            tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());
        let client = otel_grpc::ClientLayer::new();
        let client = otel_http::LayerOptions::with_tracer_provider(client, recorder.tracer_provider());
        let client =
            otel_http::LayerOptions::with_meter_provider(client, recorder.meter_provider()).layer(hang);
        let mut layer = DeadlineLayer::new().with_timeout(Duration::from_secs(1));
        if header {
            layer = layer.with_header(DeadlineHeader::grpc());
        }
        let request = Request::post("http://stock/stock.Stock/Get").body(Body::default()).unwrap();
        let mut service = layer.layer(client);
        assert_eq!(found(&service.call(request).await.err().unwrap()), ResilienceError::TimedOut);
        recorder.assert_clean();
        let span = recorder.spans().pop().unwrap();
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("DEADLINE_EXCEEDED"));
        assert_eq!(error_type(&span).as_deref(), Some("DEADLINE_EXCEEDED"));
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_outlives_a_request_replaces_its_deadline() {
    let recorder = Recorder::new();
    let service = DeadlineLayer::new().layer(Backend::new([]).client(&recorder));
    let request = within(1_000);
    let background = request.with_value(Deadline::after(Duration::from_secs(60)));
    tokio::time::advance(Duration::from_secs(2)).await;
    let call = |context| service.clone().oneshot(get()).with_context(context);
    assert_eq!(found(&call(request).await.unwrap_err()), ResilienceError::DeadlineRefused);
    assert_eq!(call(background).await.unwrap().status(), 200);
}
