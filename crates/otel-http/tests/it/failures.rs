//! The classes of failures, the hook that classifies others, and the descriptions of statuses.

#[cfg(all(
    feature = "h2",
    feature = "hyper-util",
    feature = "reqwest",
    feature = "rustls",
    feature = "tonic",
    feature = "tower"
))]
mod clients;

use std::io;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::trace::Status;
use otel_http::{ClientLayer, EndOn, ErrorView, LayerOptions};
use otel_testing::Recorder;
use tokio::net::{TcpListener, TcpStream};
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::support::{client_layer, server_layer};

/// Asserts that the only span and the only duration have this `error.type`.
#[track_caller]
fn assert_class(recorder: &Recorder, class: &'static str) {
    let spans = recorder.spans();
    assert!(matches!(&*spans, [span] if matches!(span.status, Status::Error { .. })), "{}", recorder.tree());
    let attributes = spans.iter().flat_map(|span| &span.attributes);
    let types = attributes.filter(|kv| kv.key.as_str() == "error.type").map(|kv| kv.value.to_string());
    assert_eq!(types.collect::<Vec<_>>(), [class], "{}", recorder.tree());
    let durations = recorder.metric("http.client.request.duration");
    assert_eq!(durations.with("error.type", class).count(), 1, "{}", recorder.metrics());
    recorder.assert_clean();
}

/// Calls `url` through the layer around `service` and reads the body; the call has to fail.
async fn fail<S, B>(recorder: &Recorder, service: S, url: &str)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug + 'static,
    B: http_body::Body,
    B::Error: 'static,
{
    let service = client_layer(recorder).with_end_on(EndOn::Body).layer(service);
    if let Ok(response) = service.oneshot(Request::get(url).body(Body::empty()).unwrap()).await {
        assert!(response.into_body().collect().await.is_err(), "the call has not failed");
    }
}

/// A service that fails with this error.
fn failing<E: Send + 'static>(
    error: impl Fn() -> E + Clone + Send + 'static,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = E, Future: Send> + Clone {
    tower::service_fn(move |_| {
        let error = error();
        async move { Err(error) }
    })
}

#[tokio::test]
async fn a_boxed_error_has_the_class_of_its_causes() {
    let recorder = Recorder::new();
    // A port without a listener: it was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = tower::service_fn(move |_: Request<Body>| async move {
        let refused = TcpStream::connect(address).await.unwrap_err();
        Err::<Response<Body>, BoxError>(io::Error::other(refused).into())
    });
    fail(&recorder, client, "http://a.example/").await;
    assert_class(&recorder, "connection_refused");
}

#[tokio::test]
async fn an_error_of_unknown_type_has_the_name_of_the_type() {
    let recorder = Recorder::new();
    fail(&recorder, failing(|| std::fmt::Error), "http://a.example/").await;
    assert_class(&recorder, "core::fmt::Error");
}

#[tokio::test]
async fn a_boxed_error_without_a_known_cause_is_other() {
    let recorder = Recorder::new();
    fail(&recorder, failing(|| BoxError::from("connection refused: hunter2")), "http://a.example/").await;
    assert_class(&recorder, "_OTHER");
    assert!(!recorder.tree().contains("hunter2"), "{}", recorder.tree());
}

/// An error of the application, which no class fits.
#[derive(Debug)]
struct OutOfStock;

impl std::fmt::Display for OutOfStock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("out of stock: token=hunter2")
    }
}

impl std::error::Error for OutOfStock {}

#[tokio::test]
async fn an_application_classifies_its_errors() {
    let recorder = Recorder::new();
    let layer =
        client_layer(&recorder).with_error_type(|error| error.find::<OutOfStock>().map(|_| "out_of_stock"));
    let failing = failing(|| BoxError::from(io::Error::other(OutOfStock)));
    call(layer.layer(failing)).await;
    assert_class(&recorder, "out_of_stock");
}

#[tokio::test]
async fn a_hook_that_panics_or_returns_nothing_leaves_the_class() {
    let refused = || BoxError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
    for hook in [|_: &ErrorView<'_>| None, |_: &ErrorView<'_>| panic!("a faulty hook")] {
        let recorder = Recorder::new();
        call(client_layer(&recorder).with_error_type(hook).layer(failing(refused))).await;
        assert_class(&recorder, "connection_refused");
    }
}

#[tokio::test]
async fn a_status_is_described_on_request_and_redacted() {
    let failing = || failing(|| BoxError::from(OutOfStock));
    for (layer, text) in [
        (client_layer as fn(&Recorder) -> ClientLayer, ""),
        (|recorder| client_layer(recorder).with_status_description(true), "out of stock: token=hunter2"),
    ] {
        let recorder = Recorder::new();
        call(layer(&recorder).layer(failing())).await;
        assert_eq!(recorder.spans()[0].status, Status::error(text));
        assert!(!recorder.metrics().contains("hunter2"), "{}", recorder.metrics());
    }
    let recorder = Recorder::new();
    let layer = client_layer(&recorder)
        .with_status_description(true)
        .with_description_redaction(|text| text.replace("hunter2", "REDACTED").into());
    call(layer.layer(failing())).await;
    assert_eq!(recorder.spans()[0].status, Status::error("out of stock: token=REDACTED"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_status_code_needs_no_description() {
    let recorder = Recorder::new();
    let service = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, BoxError>(Response::builder().status(503).body(Body::empty()).unwrap())
    });
    let layer = client_layer(&recorder).with_status_description(true);
    layer.layer(service).oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(recorder.spans()[0].status, Status::error(""));
}

/// Makes a call that has to fail.
async fn call<S: Service<Request<Body>, Response = Response<B>>, B>(service: S) {
    let request = Request::get("http://a.example/").body(Body::empty()).unwrap();
    assert!(service.oneshot(request).await.is_err(), "the call has not failed");
}

/// A server's body that fails with an error of a proxied one.
#[tokio::test]
async fn a_body_of_a_server_that_breaks_off_is_incomplete() {
    let recorder = Recorder::new();
    let service = server_layer(&recorder).layer(tower::service_fn(|_: Request<Body>| async {
        let cut = || Err::<http_body::Frame<bytes::Bytes>, _>(io::Error::from(io::ErrorKind::UnexpectedEof));
        Ok::<_, BoxError>(Response::new(StreamBody::new(futures_util::stream::iter([cut()]))))
    }));
    let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
    response.into_body().collect().await.unwrap_err();
    let durations = recorder.metric("http.server.request.duration");
    assert_eq!(durations.with("error.type", "body_incomplete").count(), 1, "{}", recorder.metrics());
    assert!(recorder.tree().contains("error.type: body_incomplete"), "{}", recorder.tree());
    recorder.assert_clean();
}
