//! All layers on sockets: a backend that dies and returns, a slow one, an overloaded one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use otel_resilience::{
    BoxError, BulkheadLayer, CircuitBreakerLayer, CircuitState, DeadlineHeader, DeadlineLayer,
    DeadlineServerLayer, EmptyBody, HedgeLayer, ResilienceError, Retry, RetryBudget, RetryLayer,
};
use otel_testing::Recorder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::support::{attribute, client_layer, error_type, instrumentation, server_layer};

const OPEN: Duration = Duration::from_millis(300);

type Client = BoxCloneSyncService<Request<Body>, StatusCode, BoxError>;

/// A client that opens a connection for each request, so that a server which is gone refuses it.
fn hyper(recorder: &Recorder) -> BoxCloneSyncService<Request<Body>, http::Response<Body>, BoxError> {
    let mut builder = HyperClient::builder(TokioExecutor::new());
    let hyper: HyperClient<_, Body> = builder.pool_max_idle_per_host(0).build(HttpConnector::new());
    let client = client_layer(recorder).layer(hyper).map_response(|response| response.map(Body::new));
    BoxCloneSyncService::new(client.map_err(BoxError::from))
}

fn header() -> DeadlineHeader {
    DeadlineHeader::milliseconds(http::HeaderName::from_static("x-timeout-ms"))
}

async fn serve(
    recorder: &Recorder,
    address: Option<SocketAddr>,
    app: Router,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.layer(DeadlineServerLayer::new(header())).layer(server_layer(recorder));
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

fn request(address: SocketAddr) -> Request<Body> {
    Request::get(format!("http://{address}/")).body(Body::empty()).unwrap()
}

async fn call(client: &Client, address: SocketAddr) -> String {
    match client.clone().oneshot(request(address)).await {
        Ok(status) => status.as_str().to_owned(),
        Err(error) => ResilienceError::find(&*error).map_or("error", ResilienceError::error_type).to_owned(),
    }
}

fn of_kind(spans: &[SpanData], kind: SpanKind) -> Vec<&SpanData> {
    spans.iter().filter(|span| span.span_kind == kind).collect()
}

/// Waits until the servers have ended their spans, asserts that all ended once, and that metrics and spans agree.
async fn settled(recorder: &Recorder) -> Vec<SpanData> {
    let settle = async {
        while recorder.tree().contains("not finished") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settle).await.unwrap();
    recorder.assert_clean();
    let spans = recorder.spans();
    let clients = of_kind(&spans, SpanKind::Client).len() as u64;
    assert_eq!(recorder.metric("http.client.request.duration").count(), clients);
    let refused = spans.iter().filter(|span| attribute(span, "resilience.pattern").is_some()).count();
    if refused > 0 {
        assert_eq!(recorder.metric("resilience.refused_calls").sum(), refused as f64);
    }
    spans
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_dies_and_returns() {
    let recorder = Recorder::new();
    let instrumentation = instrumentation(&recorder);
    let app = || Router::new().route("/", get(async || "ok"));
    let (address, server) = serve(&recorder, None, app()).await;
    let breaker =
        CircuitBreakerLayer::new("stock", Duration::from_secs(5)).with_window(8, 8).with_open_time(OPEN);
    let breaker = breaker.with_half_open_calls(1).with_instrumentation(&instrumentation);
    let retry = Retry::new("look up item").with_span(true).with_max_attempts(2);
    let retry = retry.with_delays(Duration::from_millis(1), Duration::from_millis(2));
    let retry = RetryLayer::new(retry.with_instrumentation(&instrumentation))
        .with_clone_request(EmptyBody::default());
    let client = ServiceBuilder::new().layer(retry).layer(breaker.clone()).service(hyper(&recorder));
    let client = Client::new(client.map_response(|response| response.status()));

    let mut ends = BTreeMap::<_, u64>::new();
    let mut add = |end: String| *ends.entry(end).or_default() += 1;
    for _ in 0..4 {
        add(call(&client, address).await);
    }
    server.abort();
    let _ = server.await;
    // Two attempts each: four of the last eight calls of the breaker fail.
    for _ in 0..5 {
        add(call(&client, address).await);
    }
    assert_eq!(breaker.state(), CircuitState::Open);
    let (_, server) = serve(&recorder, Some(address), app()).await;
    tokio::time::sleep(OPEN).await;
    for _ in 0..3 {
        add(call(&client, address).await);
    }
    server.abort();
    let counts: Vec<_> = ends.iter().map(|(end, count)| (end.as_str(), *count)).collect();
    assert_eq!(counts, [("200", 7), ("circuit_open", 3), ("error", 2)]);
    assert_eq!(breaker.state(), CircuitState::Closed);

    let spans = settled(&recorder).await;
    let (attempts, servers) = (of_kind(&spans, SpanKind::Client), of_kind(&spans, SpanKind::Server));
    assert_eq!((attempts.len(), servers.len()), (11, 7), "{}", recorder.tree());
    let refused = attempts.iter().filter(|span| error_type(span).as_deref() == Some("connection_refused"));
    assert_eq!(refused.count(), 4, "{}", recorder.tree());
    let logical = spans.iter().filter(|span| span.name == "look up item").count();
    assert_eq!(logical, 12, "each call has one");
    assert_eq!(recorder.metric("resilience.refused_calls").with("error.type", "circuit_open").sum(), 3.0);
    assert_eq!(recorder.metric("resilience.retry.resends").sum(), 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_backend_is_hedged() {
    let recorder = Recorder::new();
    let requests = Arc::new(AtomicU64::new(0));
    let handler = async move || {
        // Each fifth request hangs.
        if requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(5) {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        "ok"
    };
    let (address, server) = serve(&recorder, None, Router::new().route("/", get(handler))).await;
    let hedge = HedgeLayer::new("search", Duration::from_millis(300)).with_budget(RetryBudget::new(1.0, 100));
    let hedge =
        hedge.with_clone_request(EmptyBody::default()).with_instrumentation(&instrumentation(&recorder));
    let client = Client::new(hedge.layer(hyper(&recorder)).map_response(|response| response.status()));
    let before = Instant::now();
    for _ in 0..8 {
        assert_eq!(call(&client, address).await, "200");
    }
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
    let spans = settled(&recorder).await;
    server.abort();
    let attempts = of_kind(&spans, SpanKind::Client);
    let (lost, won): (Vec<&SpanData>, Vec<_>) =
        attempts.into_iter().partition(|span| attribute(span, "resilience.hedge.lost").is_some());
    assert_eq!(won.len(), 8);
    assert!(lost.len() >= 2, "{}", recorder.tree());
    assert!(lost.iter().all(|span| span.status == Status::Unset));
    assert!(won.iter().all(|span| error_type(span).is_none()));
    assert_eq!(recorder.metric("resilience.hedge.attempts").sum(), lost.len() as f64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_calls_are_refused_or_end_at_their_deadline() {
    let recorder = Recorder::new();
    let instrumentation = instrumentation(&recorder);
    let handler = async || {
        tokio::time::sleep(Duration::from_millis(400)).await;
        "ok"
    };
    let (address, server) = serve(&recorder, None, Router::new().route("/", get(handler))).await;
    let deadline = DeadlineLayer::new().with_header(header()).with_instrumentation(&instrumentation);
    let retry = Retry::new("look up item").with_span(true).with_budget(RetryBudget::new(0.1, 0));
    let bulkhead = BulkheadLayer::new("stock", 4).with_max_wait(Duration::from_millis(1800));
    let layers = ServiceBuilder::new()
        .layer(deadline.clone().with_timeout(Duration::from_secs(2)))
        .layer(
            RetryLayer::new(retry.with_instrumentation(&instrumentation))
                .with_clone_request(EmptyBody::default()),
        )
        .layer(bulkhead.with_instrumentation(&instrumentation))
        .layer(deadline.with_reserve(Duration::from_millis(20)));
    let client =
        layers.service(hyper(&recorder)).map_response(|response: http::Response<_>| response.status());
    let client = Client::new(client);
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, address).await })
        })
        .collect();
    let mut ends = BTreeMap::<_, usize>::new();
    for end in calls {
        *ends.entry(end.await.unwrap()).or_default() += 1;
    }
    let spans = settled(&recorder).await;
    server.abort();
    assert!(ends["200"] >= 4 && ends["bulkhead_full"] >= 4, "{ends:?}");
    let known = ["200", "504", "bulkhead_full", "deadline_exceeded", "timeout"];
    assert!(ends.keys().all(|end| known.contains(&end.as_str())), "{ends:?}");
    let logical: Vec<_> = spans.iter().filter(|span| span.name == "look up item").collect();
    assert_eq!(logical.len(), 60);
    let (attempts, servers) = (of_kind(&spans, SpanKind::Client), of_kind(&spans, SpanKind::Server));
    // Each call that had a place was sent once, or resent within the budget.
    assert!(attempts.len() <= 60 + 6 && attempts.len() >= ends["200"], "{} {ends:?}", attempts.len());
    assert!(servers.len() <= attempts.len());
    let cancelled = attempts.iter().filter(|span| error_type(span).as_deref() == Some("cancelled"));
    assert_eq!(cancelled.count(), 0, "{}", recorder.tree());
}
