//! The names that this crate records are those that docs/conventions.md lists, with their instruments and units.

use std::time::Duration;

use http::{Request, Response};
use opentelemetry::trace::{FutureExt, TraceContextExt};
use otel_resilience::{
    BulkheadLayer, CircuitBreakerLayer, DeadlineHeader, DeadlineLayer, DeadlineServerLayer, HedgeLayer,
    Retry, RetryLayer,
};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Backend, Body, caller, get, instrumentation, server_layer};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test(start_paused = true)]
async fn the_names_are_listed() {
    let recorder = Recorder::new();
    let retry = Retry::new("stock").with_span(true).with_instrumentation(&instrumentation(&recorder));
    let client = Backend::always(Answer::Status(503)).client(&recorder);
    RetryLayer::new(retry).layer(client).oneshot(get()).await.unwrap();
    deadline(&recorder).await;
    let hedge = HedgeLayer::new("stock", Duration::ZERO).with_instrumentation(&instrumentation(&recorder));
    let client = hedge.layer(Backend::new([Answer::Hang]).client(&recorder));
    let context = caller(&recorder);
    client.oneshot(get()).with_context(context.clone()).await.unwrap();
    context.span().end();
    refusals(&recorder).await;
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-resilience").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()), "{}", recorder.tree());
}

async fn deadline(recorder: &Recorder) {
    let header = DeadlineHeader::grpc();
    let hang = tower::service_fn(async |_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, std::io::Error>>().await
    });
    let server = server_layer(recorder).layer(DeadlineServerLayer::new(header).layer(hang));
    let request = Request::get("/").header("grpc-timeout", "1S").body(Body::default()).unwrap();
    server.oneshot(request).await.unwrap();
    let layer = DeadlineLayer::new().with_timeout(Duration::ZERO);
    let client = Backend::new([]).client(recorder);
    layer.with_instrumentation(&instrumentation(recorder)).layer(client).oneshot(get()).await.unwrap_err();
}

async fn refusals(recorder: &Recorder) {
    let instrumentation = instrumentation(recorder);
    let call = async |layer: CircuitBreakerLayer| {
        let client = Backend::always(Answer::Error).client(recorder);
        let _ = layer.layer(client).oneshot(get()).await;
    };
    let breaker = CircuitBreakerLayer::new("stock", Duration::from_secs(1)).with_window(1, 1);
    let breaker = breaker.with_instrumentation(&instrumentation);
    let context = caller(recorder);
    for _ in 0..2 {
        call(breaker.clone()).with_context(context.clone()).await;
    }
    let bulkhead = BulkheadLayer::new("stock", 1).with_max_wait(Duration::from_millis(1_500));
    let bulkhead = bulkhead.with_instrumentation(&instrumentation);
    let client = bulkhead.layer(Backend::new([]).with_delay(Duration::from_secs(1)).client(recorder));
    let calls = (0..3).map(|_| client.clone().oneshot(get()).with_context(context.clone()));
    let _ = futures_util::future::join_all(calls).await;
    context.span().end();
}
