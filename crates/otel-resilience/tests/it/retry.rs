//! Attempts of a call: their spans, the requests and results that are repeated, the ways to clone a request.

use std::convert::Infallible;
use std::time::Duration;

use http::{Method, Request, Response};
use opentelemetry::trace::{FutureExt, TraceContextExt};
use otel_resilience::{EmptyBody, Retry, RetryLayer};
use otel_testing::Recorder;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use crate::support::{Answer, Backend, Body, attribute, caller, error_type, get, instrumentation};

fn retry(recorder: &Recorder) -> Retry {
    Retry::new("stock").with_instrumentation(&instrumentation(recorder))
}

fn resends(recorder: &Recorder) -> Vec<Option<String>> {
    recorder.spans().iter().map(|span| attribute(span, "http.request.resend_count")).collect()
}

#[tokio::test(start_paused = true)]
async fn attempts_are_siblings_below_one_logical_span() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Status(503), Answer::Error]);
    let service = RetryLayer::new(retry(&recorder).with_span(true)).layer(backend.client(&recorder));
    let response = service.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    recorder.assert_clean();
    let logical = recorder.span("stock");
    let attempts: Vec<_> = recorder.spans().into_iter().filter(|span| span.name == "GET").collect();
    assert!(attempts.iter().all(|span| span.parent_span_id == logical.span_context.span_id()));
    let described: Vec<_> = attempts
        .iter()
        .map(|span| (error_type(span), attribute(span, "http.request.resend_count")))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        described,
        [(text("503"), None), (text("connection_reset"), text("1")), (None, text("2"))],
        "{}",
        recorder.tree()
    );
    assert_eq!(error_type(&logical), None, "the call as a whole is a success");
    let events: Vec<_> = logical.events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["resilience.retry", "resilience.retry"]);
    assert_eq!(recorder.metric("resilience.retry.resends").sum(), 2.0);
    assert_eq!(recorder.metric("http.client.request.duration").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_a_span_attempts_are_children_of_the_caller_wherever_they_are_polled() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Status(503)]);
    let mut service = RetryLayer::new(retry(&recorder)).layer(backend.client(&recorder));
    let context = caller(&recorder);
    let future = {
        let _attached = context.clone().attach();
        service.call(get())
    };
    // Polled where no context is current.
    future.await.unwrap();
    let parent = context.span().span_context().span_id();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 2, "{}", recorder.tree());
    assert!(spans.iter().all(|span| span.parent_span_id == parent), "{}", recorder.tree());
    context.span().end();
    assert_eq!(recorder.span("caller").events.len(), 1, "the resend is an event of the caller");
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn only_idempotent_requests_are_repeated_unless_a_rule_allows_more() {
    for (method, attempts) in
        [("GET", 2), ("HEAD", 2), ("PUT", 2), ("DELETE", 2), ("OPTIONS", 2), ("POST", 1), ("PATCH", 1)]
    {
        let recorder = Recorder::new();
        let backend = Backend::new([Answer::Status(503)]);
        let mut request = get();
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let response =
            RetryLayer::new(retry(&recorder)).layer(backend.client(&recorder)).oneshot(request).await;
        assert_eq!(backend.calls(), attempts, "{method}");
        assert_eq!(response.unwrap().status() == 200, attempts == 2);
    }
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Status(503)]);
    let layer =
        RetryLayer::new(retry(&recorder)).with_requests(|head| head.headers.contains_key("idempotency-key"));
    let request = Request::post("/").header("idempotency-key", "7").body(Body::default()).unwrap();
    layer.layer(backend.client(&recorder)).oneshot(request).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn statuses_and_errors_decide() {
    for status in [200, 304, 400, 404, 408, 425, 429, 500, 501, 502, 503, 504] {
        let recorder = Recorder::new();
        let backend = Backend::new([Answer::Status(status)]);
        RetryLayer::new(retry(&recorder)).layer(backend.client(&recorder)).oneshot(get()).await.unwrap();
        let is_repeated = [408, 425, 429, 502, 503, 504].contains(&status);
        assert_eq!(backend.calls(), 1 + usize::from(is_repeated), "{status}");
    }
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Status(500), Answer::Error]);
    let layer = RetryLayer::new(retry(&recorder)).with_responses(|head| head.status == 500);
    let layer = layer.with_errors(|error| error.class() == Some(otel_request::ErrorClass::Dns));
    layer.layer(backend.client(&recorder)).oneshot(get()).await.unwrap_err();
    assert_eq!(backend.calls(), 2);
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_panics_allows_no_retry() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Status(503)]);
    let layer = RetryLayer::new(retry(&recorder)).with_responses(|_| panic!("a rule that panics"));
    let response = layer.layer(backend.client(&recorder)).oneshot(get()).await.unwrap();
    assert_eq!((response.status().as_u16(), backend.calls()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_cloned_or_the_request_is_sent_once() {
    let sent = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&sent);
    let service = tower::service_fn(move |request: Request<Body>| {
        let seen = std::sync::Arc::clone(&seen);
        async move {
            use http_body_util::BodyExt;
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push(body);
            Ok::<_, Infallible>(Response::builder().status(503).body(Body::default()).unwrap())
        }
    });
    let recorder = Recorder::new();
    let put = |body: &'static str| Request::put("/").body(Body::from(body)).unwrap();
    let retry = retry(&recorder).with_max_attempts(2);
    RetryLayer::new(retry.clone()).layer(service.clone()).oneshot(put("five")).await.unwrap();
    assert_eq!(std::mem::take(&mut *sent.lock().unwrap()), ["five", "five"]);
    let layer = RetryLayer::new(retry.clone()).with_clone_request(EmptyBody::default());
    layer.layer(service.clone()).oneshot(put("five")).await.unwrap();
    assert_eq!(std::mem::take(&mut *sent.lock().unwrap()), ["five"]);
    layer.layer(service.clone()).oneshot(put("")).await.unwrap();
    assert_eq!(std::mem::take(&mut *sent.lock().unwrap()), ["", ""]);
    let layer = RetryLayer::new(retry).with_clone_request(|_: &Request<Body>| None);
    layer.layer(service).oneshot(put("five")).await.unwrap();
    assert_eq!(*sent.lock().unwrap(), ["five"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_a_request_without_body_has_its_head() {
    let request =
        Request::put("http://a/b").header("x-a", "1").extension(7_u8).body(Body::default()).unwrap();
    let clone = otel_resilience::CloneRequest::clone_request(&EmptyBody::default(), &request).unwrap();
    assert_eq!((clone.method(), clone.uri()), (request.method(), request.uri()));
    assert_eq!((clone.version(), clone.headers()), (request.version(), request.headers()));
    assert_eq!(clone.extensions().get::<u8>(), Some(&7));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_waits_ends_once() {
    let recorder = Recorder::new();
    let retry =
        retry(&recorder).with_span(true).with_delays(Duration::from_secs(60), Duration::from_secs(60));
    let backend = Backend::always(Answer::Status(503));
    let service = RetryLayer::new(retry).layer(backend.client(&recorder));
    tokio::time::timeout(Duration::from_secs(1), service.oneshot(get())).await.unwrap_err();
    recorder.assert_clean();
    assert_eq!(error_type(&recorder.span("stock")).as_deref(), Some("cancelled"));
    assert_eq!(recorder.spans().len(), 2, "{}", recorder.tree());
}

#[tokio::test(start_paused = true)]
async fn a_client_layer_outside_counts_nothing_and_a_counter_of_the_application_stays() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Status(503)]);
    let service = RetryLayer::new(retry(&recorder)).layer(backend.client(&recorder));
    let mut request = get();
    request.extensions_mut().insert(otel_http::ResendCounter::after(5));
    service.oneshot(request).await.unwrap();
    assert_eq!(resends(&recorder), [Some("5".to_owned()), Some("6".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_retried_with_attempts_as_siblings() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Error, Answer::Error]);
    let client = backend.client(&recorder);
    let retry = retry(&recorder).with_span(true);
    let before = Instant::now();
    let send = || client.clone().oneshot(get());
    let is_reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    retry.run(send, is_reset).with_context(caller(&recorder)).await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(75), "{:?}", before.elapsed());
    let logical = recorder.span("stock");
    let attempts: Vec<_> = recorder.spans().into_iter().filter(|span| span.name == "GET").collect();
    assert_eq!(attempts.len(), 3, "{}", recorder.tree());
    assert!(attempts.iter().all(|span| span.parent_span_id == logical.span_context.span_id()));
    assert_eq!((logical.events.len(), error_type(&logical)), (2, None));
    // An error that is not transient, and the last one, are returned.
    let mut calls = 0;
    let failing = || {
        calls += 1;
        async { Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) }
    };
    assert!(is_reset(&retry.run(failing, is_reset).await.unwrap_err()));
    assert_eq!(calls, 3);
    let mut calls = 0;
    let failing = || {
        calls += 1;
        async { Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound)) }
    };
    retry.run(failing, is_reset).await.unwrap_err();
    assert_eq!(calls, 1);
    assert_eq!(error_type(&recorder.spans().pop().unwrap()).as_deref(), Some("io"));
}

#[tokio::test(start_paused = true)]
async fn attempts_of_a_closure_are_children_of_the_caller_wherever_they_are_polled() {
    let recorder = Recorder::new();
    let client = Backend::new([Answer::Error]).client(&recorder);
    let (retry, context) = (retry(&recorder), caller(&recorder));
    let mut call = Box::pin(retry.run(|| client.clone().oneshot(get()), |_| true));
    {
        let _attached = context.clone().attach();
        assert!(futures_util::poll!(&mut call).is_pending(), "the first attempt has failed");
    }
    // Polled where no context is current.
    call.await.unwrap();
    let parent = context.span().span_context().span_id();
    context.span().end();
    recorder.assert_clean();
    let spans = recorder.spans();
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "GET").collect();
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|span| span.parent_span_id == parent), "{}", recorder.tree());
}

/// A closure whose future borrows from it has to be usable on a task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closure_is_retried_on_a_task() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Error]);
    let (client, retry) = (backend.client(&recorder), retry(&recorder));
    let task = tokio::spawn(async move {
        let mut attempts = Vec::new();
        let attempt = || {
            attempts.push(attempts.len());
            // It borrows the client.
            async { client.clone().oneshot(get()).await }
        };
        let result = retry.run(attempt, |_| true).await;
        (result.map(|response| response.status().as_u16()), attempts)
    });
    let (status, attempts) = task.await.unwrap();
    assert_eq!((status.unwrap(), attempts), (200, vec![0, 1]));
    recorder.assert_clean();
}
