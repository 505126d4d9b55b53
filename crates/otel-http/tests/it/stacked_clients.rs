//! One client span an attempt, whatever layers are stacked.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use opentelemetry::trace::SpanKind;
use otel_http::{EndOn, ResendCounter};
use otel_testing::Recorder;
use tower::{Layer, Service, ServiceExt};

use crate::support::{client_layer, server_layer};

fn request() -> Request<Body> {
    Request::get("http://api.example/").body(Body::empty()).unwrap()
}

async fn run<S, B>(service: S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let response = service.oneshot(request).await.unwrap();
    let _ = response.into_body().collect().await.unwrap();
}

async fn ok(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

#[tokio::test]
async fn two_layers_around_a_client_record_one_attempt() {
    for end_on in [EndOn::Head, EndOn::Body] {
        let recorder = Recorder::new();
        let layer = client_layer(&recorder).with_end_on(end_on);
        run(layer.layer(layer.layer(tower::service_fn(ok))), request()).await;
        assert_eq!(recorder.spans().len(), 1);
        assert_eq!(recorder.metric("http.client.request.duration").count(), 1);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn attempts_between_two_layers_have_a_span_each_and_count_on() {
    let recorder = Recorder::new();
    let inner = client_layer(&recorder).layer(tower::service_fn(ok));
    let retry = tower::service_fn(move |first: Request<Body>| {
        let inner = inner.clone();
        async move {
            let (headers, extensions) = (first.headers().clone(), first.extensions().clone());
            let attempt = || {
                let mut attempt = request();
                *attempt.headers_mut() = headers.clone();
                *attempt.extensions_mut() = extensions.clone();
                attempt
            };
            run(inner.clone(), attempt()).await;
            run(inner.clone(), attempt()).await;
            ok(attempt()).await
        }
    });
    let mut first = request();
    first.extensions_mut().insert(ResendCounter::default());
    run(client_layer(&recorder).layer(retry), first).await;
    let spans = recorder.spans();
    assert_eq!(spans.len(), 2, "the first attempt is the outer layer's\n{}", recorder.tree());
    let resends: Vec<_> = spans
        .iter()
        .flat_map(|span| &span.attributes)
        .filter(|kv| kv.key.as_str() == "http.request.resend_count")
        .map(|kv| kv.value.to_string())
        .collect();
    assert_eq!(resends, ["1"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_token_request_inside_of_a_call_is_a_call_of_its_own() {
    let recorder = Recorder::new();
    let inner = client_layer(&recorder).layer(tower::service_fn(ok));
    let tokens = tower::service_fn(move |call: Request<Body>| {
        let inner = inner.clone();
        async move {
            run(inner.clone(), request()).await;
            inner.oneshot(call).await
        }
    });
    run(client_layer(&recorder).layer(tokens), request()).await;
    assert_eq!(recorder.spans().len(), 2);
    assert_eq!(recorder.metric("http.client.request.duration").count(), 2);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_client_in_a_handler_and_a_server_in_a_client_are_sides_of_their_own() {
    let recorder = Recorder::new();
    let server = server_layer(&recorder).layer(tower::service_fn(ok));
    let client = client_layer(&recorder).layer(server);
    let handler = tower::service_fn(move |_: Request<Body>| {
        let client = client.clone();
        async move {
            run(client, request()).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    run(server_layer(&recorder).layer(handler), request()).await;
    let kinds: Vec<_> = recorder.spans().iter().map(|span| span.span_kind.clone()).collect();
    assert_eq!(kinds, [SpanKind::Server, SpanKind::Client, SpanKind::Server], "{}", recorder.tree());
    recorder.assert_clean();
}
