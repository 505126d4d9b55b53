//! The classes of failures of tower's layers inside of the client's layer.

use std::io;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use otel_testing::Recorder;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

use crate::failures::{assert_class, fail, failing};
use crate::support::client_layer;

fn silent() -> impl Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send> + Send {
    tower::service_fn(|_| std::future::pending())
}

#[tokio::test]
async fn a_time_out_inside_of_the_layer_is_a_timeout() {
    let recorder = Recorder::new();
    let client = ServiceBuilder::new().timeout(Duration::from_millis(10)).service(silent());
    fail(&recorder, client, "http://a.example/").await;
    assert_class(&recorder, "timeout");
}

#[tokio::test]
async fn load_that_is_shed_inside_of_the_layer_is_overloaded() {
    let recorder = Recorder::new();
    let client = ServiceBuilder::new().load_shed().concurrency_limit(0).service(silent());
    fail(&recorder, client, "http://a.example/").await;
    assert_class(&recorder, "overloaded");
}

#[tokio::test]
async fn a_buffer_whose_worker_has_stopped_is_closed() {
    let recorder = Recorder::new();
    let (buffer, worker) = tower::buffer::Buffer::pair(silent(), 1);
    let mut client = client_layer(&recorder).layer(buffer).ready_oneshot().await.unwrap();
    let call = client.call(Request::get("http://a.example/").body(Body::empty()).unwrap());
    drop(worker);
    call.await.map(drop).unwrap_err();
    assert_class(&recorder, "service_closed");
}

#[tokio::test]
async fn an_error_behind_a_buffer_keeps_its_class() {
    let recorder = Recorder::new();
    let reset = || BoxError::from(io::Error::from(io::ErrorKind::ConnectionReset));
    let client = ServiceBuilder::new().buffer(1).timeout(Duration::from_secs(60)).service(failing(reset));
    fail(&recorder, client, "http://a.example/").await;
    assert_class(&recorder, "connection_reset");
}
