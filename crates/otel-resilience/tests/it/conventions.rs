//! The names that this crate records are those that docs/conventions.md lists, with their instruments and units.

use std::time::Duration;

use http::{Request, Response};
use otel_resilience::{DeadlineHeader, DeadlineLayer, DeadlineServerLayer, Retry, RetryLayer};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Backend, Body, get, instrumentation, server_layer};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test(start_paused = true)]
async fn the_names_are_listed() {
    let recorder = Recorder::new();
    let retry = Retry::new("stock").with_span(true).with_instrumentation(&instrumentation(&recorder));
    let client = Backend::always(Answer::Status(503)).client(&recorder);
    RetryLayer::new(retry).layer(client).oneshot(get()).await.unwrap();
    deadline(&recorder).await;
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
