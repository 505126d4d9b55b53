//! The client layer as a `reqwest-middleware` middleware, alone and inside a retry middleware.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer, TracerProvider};
use otel_http::UrlTemplate;
use otel_testing::Recorder;
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;

use crate::support::{client_layer, serve};

#[tokio::test]
async fn a_call_is_a_span_and_carries_it_on() {
    let recorder = Recorder::new();
    let echo = |headers: HeaderMap| async move { headers["traceparent"].to_str().unwrap().to_owned() };
    let address = serve(Router::new().route("/users/{id}", get(echo))).await;
    let client = ClientBuilder::new(reqwest::Client::new()).with(client_layer(&recorder)).build();
    let root = recorder.tracer_provider().tracer("test").start("root");
    let cx = opentelemetry::Context::new().with_span(root);
    let call = client
        .get(format!("http://user:secret@{address}/users/7"))
        .with_extension(UrlTemplate("/users/{id}".into()))
        .send();
    let sent = call.with_context(cx.clone()).await.unwrap().text().await.unwrap();
    cx.span().end();
    let span = recorder.span("GET /users/{id}");
    assert_eq!(span.parent_span_id, cx.span().span_context().span_id());
    assert!(sent.contains(&span.span_context.span_id().to_string()), "{sent}");
    let tree = recorder.tree();
    assert!(tree.contains("http.response.status_code: 200"), "{tree}");
    assert!(!tree.contains("secret"), "{tree}");
    recorder.assert_clean();
}

#[tokio::test]
async fn each_attempt_inside_a_retry_is_a_span_with_its_number() {
    let recorder = Recorder::new();
    let tries = Arc::new(AtomicU32::new(0));
    let flaky = move || {
        let tries = tries.fetch_add(1, Ordering::Relaxed);
        async move { if tries < 2 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK } }
    };
    let address = serve(Router::new().route("/", get(flaky))).await;
    let policy = ExponentialBackoff::builder()
        .retry_bounds(std::time::Duration::from_millis(1), std::time::Duration::from_millis(2))
        .build_with_max_retries(3);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(RetryTransientMiddleware::new_with_policy(policy))
        .with(client_layer(&recorder))
        .build();
    assert_eq!(client.get(format!("http://{address}/")).send().await.unwrap().status(), 200);
    let seen: Vec<_> = recorder
        .spans()
        .iter()
        .map(|span| {
            let get = |key: &str| {
                span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
            };
            (get("http.request.resend_count"), get("error.type"))
        })
        .collect();
    let error = || Some("503".to_owned());
    assert_eq!(seen, [(None, error()), (Some("1".into()), error()), (Some("2".into()), None)]);
    recorder.assert_clean();
}

#[tokio::test]
async fn redirects_underneath_belong_to_the_one_span() {
    let recorder = Recorder::new();
    let app = Router::new()
        .route("/old", get(|| async { Redirect::temporary("/new") }))
        .route("/new", get(|| async { "here" }));
    let address = serve(app).await;
    let client = ClientBuilder::new(reqwest::Client::new()).with(client_layer(&recorder)).build();
    assert_eq!(
        client.get(format!("http://{address}/old")).send().await.unwrap().text().await.unwrap(),
        "here"
    );
    let tree = recorder.tree();
    assert!(recorder.spans().len() == 1 && tree.contains("/old") && !tree.contains("/new"), "{tree}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_classified() {
    let recorder = Recorder::new();
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = ClientBuilder::new(reqwest::Client::new()).with(client_layer(&recorder)).build();
    client.get(format!("http://{address}/")).send().await.unwrap_err();
    let tree = recorder.tree();
    assert!(tree.contains("error.type: connection_refused"), "{tree}");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_call_ends_at_its_head_and_tells_the_size_that_the_head_tells() {
    let recorder = Recorder::new();
    let address = serve(Router::new().route("/", get(|| async { "12345" }))).await;
    let layer = client_layer(&recorder).with_body_sizes(true).with_end_on(otel_http::EndOn::Body);
    let client = ClientBuilder::new(reqwest::Client::new()).with(layer).build();
    let response = client.get(format!("http://{address}/")).send().await.unwrap();
    assert_eq!(recorder.spans().len(), 1);
    assert_eq!(recorder.metric("http.client.response.body.size").sum(), 5.0);
    assert_eq!(response.text().await.unwrap(), "12345");
    recorder.assert_clean();
}
