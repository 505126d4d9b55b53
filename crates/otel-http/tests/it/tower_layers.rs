//! The layers of tower and tower-http around and inside of the server layer: each request is recorded once.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use otel_testing::Recorder;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::support::server_layer;

/// An application with eight layers of tower-http, and ours outside or inside of them.
fn app(recorder: &Recorder, is_outside: bool) -> Router {
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(SetResponseHeaderLayer::overriding(header::SERVER, header::HeaderValue::from_static("x")))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(20)))
        .layer(MapResponseBodyLayer::new(Body::new))
        .layer(RequestBodyLimitLayer::new(16));
    let router = Router::new()
        .route("/text", get(|| async { "text ".repeat(100) }))
        .route("/panic", get(|| async { panic!("handler") as &'static str }))
        .route("/slow", get(std::future::pending::<&'static str>))
        .route("/echo", post(|body: Bytes| async { body }));
    if is_outside {
        router.layer(layers).layer(server_layer(recorder))
    } else {
        router.layer(server_layer(recorder)).layer(layers)
    }
}

#[tokio::test]
async fn a_request_through_eight_layers_of_tower_http_is_recorded_once() {
    // The request and the length of its body, its status, the `error.type` that each place of our layer records; `None` if the
    // request does not reach it.
    let cases = [
        ((Method::GET, "/text", 0), 200, Some(""), Some("")),
        ((Method::POST, "/echo", 10), 200, Some(""), Some("")),
        ((Method::POST, "/echo", 20), 413, Some(""), None),
        ((Method::GET, "/panic", 0), 500, Some("500"), Some("panic")),
        ((Method::GET, "/slow", 0), 408, Some(""), Some("cancelled")),
        ((Method::OPTIONS, "/echo", 0), 200, Some(""), None),
    ];
    for ((method, path, length), status, outside, inside) in cases {
        for (is_outside, error) in [(true, outside), (false, inside)] {
            let request = Request::builder()
                .method(&method)
                .uri(path)
                .header("accept-encoding", "gzip")
                .header("origin", "http://x.example")
                .header("access-control-request-method", "POST")
                .header("content-length", length);
            let request = request.body(Body::from("x".repeat(length))).unwrap();
            let recorder = Recorder::new();
            let response = app(&recorder, is_outside).oneshot(request).await.unwrap();
            let case = format!("{method} {path} {length}, outside: {is_outside}");
            assert_eq!(response.status(), status, "{case}");
            let is_compressed = response.headers().contains_key("content-encoding");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(is_compressed, path == "/text", "{case}");
            assert_eq!(is_compressed, body.starts_with(&[0x1f, 0x8b]), "{case}");
            let durations = recorder.metric("http.server.request.duration");
            let count = u64::from(error.is_some());
            assert_eq!((recorder.spans().len() as u64, durations.count()), (count, count), "{case}");
            match error {
                None => {}
                Some("") => assert!(!recorder.metrics().contains("error.type"), "{case}"),
                Some(error) => assert_eq!(durations.with("error.type", error).count(), 1, "{case}"),
            }
            recorder.assert_clean();
        }
    }
}

#[tokio::test]
async fn a_request_that_is_shed_inside_of_the_layer_is_recorded_as_an_error() {
    let recorder = Recorder::new();
    let handler = tower::service_fn(|request: Request<Body>| async move {
        if request.uri().path() == "/wait" {
            std::future::pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let layers = ServiceBuilder::new().layer(server_layer(&recorder)).load_shed().concurrency_limit(1);
    let service = layers.service(handler);
    let request = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let mut waiting = Box::pin(service.clone().oneshot(request("/wait")));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let shed = service.clone().oneshot(request("/shed")).await;
    assert!(shed.is_err_and(|error| error.is::<tower::load_shed::error::Overloaded>()));
    drop(waiting);
    let durations = recorder.metric("http.server.request.duration");
    assert_eq!((recorder.spans().len(), durations.count()), (2, 2));
    assert_eq!(durations.with("error.type", "cancelled").count(), 1, "{}", recorder.metrics());
    assert!(
        recorder.spans().iter().all(|span| span.attributes.iter().any(|kv| kv.key.as_str() == "error.type"))
    );
    recorder.assert_clean();
}

#[tokio::test]
async fn a_layer_inside_of_a_buffer_records_each_request_once() {
    let recorder = Recorder::new();
    let handler = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("x"))) };
    let service = server_layer(&recorder).layer(tower::service_fn(handler));
    let mut buffer = tower::buffer::Buffer::new(service, 2);
    for _ in 0..5 {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = buffer.ready().await.unwrap().call(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(recorder.spans().len(), 5);
    assert_eq!(recorder.metric("http.server.request.duration").count(), 5);
    recorder.assert_clean();
}
