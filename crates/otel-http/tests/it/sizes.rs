//! The sizes of bodies, which are counted as they pass the layers.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use otel_http::EndOn;
use otel_testing::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt};

use crate::support::{call, client_layer, serve, server_layer};

/// More than any body has.
const DECLARED: &str = "18446744073709551613";

fn answer(kind: &'static str) -> Response<Body> {
    let frames = stream::iter(["12", "345"]).map(Ok::<_, std::io::Error>);
    // A declared length of another number, which is not checked here.
    Response::builder().header("content-type", kind).body(Body::from_stream(frames)).unwrap()
}

fn size(recorder: &Recorder, name: &str) -> (u64, f64) {
    let metric = recorder.metric(&format!("http.{name}.body.size"));
    (metric.count(), metric.sum())
}

#[tokio::test]
async fn a_response_is_counted_wherever_its_span_ends() {
    for end_on in [EndOn::Auto, EndOn::Body, EndOn::Head] {
        for kind in ["text/plain", "text/event-stream"] {
            let recorder = Recorder::new();
            let layer = server_layer(&recorder).with_body_sizes(true).with_end_on(end_on);
            let request = Request::get("/").body(Empty::new()).unwrap();
            let response = call(&layer, request, move |_| async move { answer(kind) }).await;
            response.into_body().collect().await.unwrap();
            assert_eq!(size(&recorder, "server.response"), (1, 5.0), "{end_on:?} {kind}");
            assert_eq!(size(&recorder, "server.request"), (1, 0.0), "{end_on:?} {kind}");

            let layer = client_layer(&recorder).with_body_sizes(true).with_end_on(end_on);
            let client = layer.layer(tower::service_fn(move |_: Request<Full<Bytes>>| async move {
                Ok::<_, Infallible>(answer(kind))
            }));
            let request = Request::post("http://api.example/").body(Full::new("1234567".into())).unwrap();
            client.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
            assert_eq!(size(&recorder, "client.response"), (1, 5.0), "{end_on:?} {kind}");
            assert_eq!(size(&recorder, "client.request"), (1, 7.0), "{end_on:?} {kind}");
            recorder.assert_clean();
        }
    }
}

#[tokio::test]
async fn a_body_that_outlasts_its_span_is_recorded_once_under_the_spans_outcome() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_body_sizes(true).with_end_on(EndOn::Head);
    let request = Request::get("/").body(Empty::new()).unwrap();
    let response = call(&layer, request, |_| async {
        let mut response = answer("text/plain");
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response
    });
    let mut body = response.await.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(recorder.spans().len(), 1);
    assert!(!recorder.metrics().contains("body.size"), "{}", recorder.metrics());
    drop(body);
    let sizes = recorder.metric("http.server.response.body.size");
    let failed = sizes.clone().with("error.type", "502").with("http.response.status_code", 502);
    assert_eq!((sizes.count(), failed.count(), failed.sum()), (1, 1, 2.0));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_response_without_a_body_has_the_size_0() {
    for status in [204, 304] {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder).with_body_sizes(true).with_end_on(EndOn::Head);
        let request = Request::get("/").body(Empty::new()).unwrap();
        let answer = move |_| async move {
            Response::builder().status(status).header("content-length", "9").body(Body::from("x")).unwrap()
        };
        drop(call(&layer, request, answer).await);
        assert_eq!(size(&recorder, "server.response"), (1, 0.0));
    }
}

#[tokio::test]
async fn a_declared_length_is_not_believed() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_body_sizes(true);
    for _ in 0..3 {
        let request = Request::post("/").header("content-length", DECLARED).body(Empty::new()).unwrap();
        call(&layer, request, |_| async { Response::new(Body::empty()) }).await;
    }
    assert_eq!(size(&recorder, "server.request"), (3, 0.0));

    // On a socket; the handler reads nothing.
    let recorder = Recorder::new();
    let app = Router::new().fallback(|| async { http::StatusCode::PAYLOAD_TOO_LARGE });
    let address = serve(app.layer(server_layer(&recorder).with_body_sizes(true))).await;
    for _ in 0..3 {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let head =
            format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {DECLARED}\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    }
    recorder.wait_for_spans(3).await;
    assert!(size_if_recorded(&recorder) < 1.0, "{}", recorder.metrics());
    recorder.assert_clean();
}

fn size_if_recorded(recorder: &Recorder) -> f64 {
    let name = "http.server.request.body.size";
    if recorder.metrics().contains(name) { recorder.metric(name).sum() } else { 0.0 }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_chunked_request_is_counted_as_it_is_read() {
    let recorder = Recorder::new();
    let app = Router::new().fallback(|body: Bytes| async move { body.len().to_string() });
    let address = serve(app.layer(server_layer(&recorder).with_body_sizes(true))).await;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").await.unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    assert!(response.ends_with("11"), "{response}");
    recorder.wait_for_spans(1).await;
    assert_eq!(size(&recorder, "server.request"), (1, 11.0));
    recorder.assert_clean();
}
