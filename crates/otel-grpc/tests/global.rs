//! Layers built before the globals are set. A test binary of its own, because globals are set once per process.

use std::convert::Infallible;

use http::{Request, Response};
use opentelemetry::global;
use otel_grpc::{ClientLayer, ServerLayer};
use otel_testing::assert_follows_globals;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn request() -> http::request::Builder {
    Request::post("/test.Echo/Unary").header("content-type", "application/grpc")
}

#[tokio::test]
async fn layers_that_were_built_before_the_sdk_record_after_it() {
    let client = ClientLayer::new().layer(tower::service_fn(|request: Request<Body>| async move {
        let sent = request.headers().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        let response = Response::builder().header("x-sent", sent.unwrap_or_default());
        Ok::<_, Infallible>(response.header("grpc-status", 0).body(Body::empty()).unwrap())
    }));
    let mut server = ServerLayer::new().layer(tower::service_fn(move |_: Request<Body>| {
        client.clone().oneshot(request().body(Body::empty()).unwrap())
    }));
    let mut call = async || {
        let request = request().header("traceparent", TRACEPARENT).body(Body::empty()).unwrap();
        let response = server.ready().await.unwrap().call(request).await.unwrap();
        response.headers()["x-sent"].to_str().unwrap().to_owned()
    };

    let set_propagator = || otel_propagation::set_global(otel_propagation::CompositePropagator::default());
    let recorder = assert_follows_globals(TRACEPARENT, set_propagator, &mut call).await;
    assert_eq!(recorder.metric("rpc.server.call.duration").count(), 2);
    assert_eq!(recorder.metric("rpc.client.call.duration").count(), 2);

    // OpenTelemetry's global propagator is replaced: the typed global of otel-propagation is no longer used.
    global::set_text_map_propagator(otel_propagation::B3Propagator::single());
    assert_eq!(call().await, "");
}
