//! The server side of deadlines, and a deadline that crosses three services on sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{HeaderName, Request, Response, StatusCode};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use otel_resilience::{BoxError, Deadline, DeadlineHeader, DeadlineLayer, DeadlineServerLayer};
use otel_testing::Recorder;
use proptest::prelude::*;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Backend, Body, attribute, client_layer, error_type, server_layer};

const HEADER: HeaderName = HeaderName::from_static("x-timeout-ms");

fn header() -> DeadlineHeader {
    DeadlineHeader::milliseconds(HEADER)
}

fn request(name: &'static str, left: &str) -> Request<Body> {
    Request::get("/").header(name, left).body(Body::default()).unwrap()
}

/// Sets a flag when the handler is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_stops_when_its_callers_deadline_has_passed() {
    let recorder = Recorder::new();
    let client = Backend::always(Answer::Hang).client(&recorder);
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let handler = tower::service_fn(move |_: Request<Body>| {
        let (client, flag) = (client.clone(), OnDrop(Arc::clone(&flag)));
        async move {
            let _flag = flag;
            client.oneshot(crate::support::get()).await
        }
    });
    let server = server_layer(&recorder).layer(DeadlineServerLayer::new(header()).layer(handler));
    let before = Instant::now();
    let response = server.oneshot(request("x-timeout-ms", "300")).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!((300..310).contains(&before.elapsed().as_millis()));
    assert!(dropped.load(Ordering::Relaxed));
    drop(response);
    recorder.assert_clean();
    let spans = recorder.spans();
    let (call, server) = (&spans[0], &spans[1]);
    assert_eq!(error_type(call).as_deref(), Some("timeout"), "{}", recorder.tree());
    assert_eq!(attribute(server, "resilience.deadline.remaining").as_deref(), Some("0.3"));
    assert_eq!(error_type(server).as_deref(), Some("504"));
    assert_eq!(server.events.iter().next().unwrap().name, "resilience.deadline.expired");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_arrives_too_late_is_not_run() {
    for (name, header, status) in [
        ("x-timeout-ms", header(), StatusCode::GATEWAY_TIMEOUT),
        ("grpc-timeout", DeadlineHeader::grpc(), StatusCode::OK),
    ] {
        let handler = tower::service_fn(async |_: Request<Body>| -> Result<Response<Body>, BoxError> {
            panic!("nobody waits for this")
        });
        let left = if header == DeadlineHeader::grpc() { "0S" } else { "0" };
        let response =
            DeadlineServerLayer::new(header).layer(handler).oneshot(request(name, left)).await.unwrap();
        assert_eq!(response.status(), status);
        let code = response.headers().get("grpc-status").map(|code| code.to_str().unwrap());
        assert_eq!(code, (status == 200).then_some("4"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_maximum_of_the_server_holds_with_and_without_a_header() {
    let seen = async |layer: DeadlineServerLayer, left: &str| {
        let handler = tower::service_fn(async |_: Request<Body>| {
            let left = Deadline::current().map(|deadline| deadline.remaining().as_millis().to_string());
            Ok::<_, BoxError>(Response::new(left.unwrap_or_default()))
        });
        layer.layer(handler).oneshot(request("x-timeout-ms", left)).await.unwrap().into_body()
    };
    let layer = DeadlineServerLayer::new(header());
    let limited = layer.clone().with_maximum(Duration::from_secs(1));
    assert_eq!(seen(layer.clone(), "99999999").await, "99999999");
    assert_eq!(seen(limited.clone(), "99999999").await, "1000");
    assert_eq!(seen(limited.clone(), "250").await, "250");
    assert_eq!(seen(limited, "hostile").await, "1000");
    assert_eq!(seen(layer, "hostile").await, "");
}

proptest! {
    #[test]
    fn a_header_of_any_bytes_changes_nothing_but_the_deadline(value in proptest::collection::vec(any::<u8>(), 0..12)) {
        let Ok(value) = http::HeaderValue::from_bytes(&value) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for (name, header) in [("x-timeout-ms", header()), ("grpc-timeout", DeadlineHeader::grpc())] {
                let handler = tower::service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::default())));
                let request = Request::get("/").header(name, &value).body(Body::default()).unwrap();
                let response = DeadlineServerLayer::new(header).layer(handler).oneshot(request).await.unwrap();
                let is_zero = value.as_bytes().iter().filter(|byte| byte.is_ascii_digit()).all(|digit| *digit == b'0');
                assert!(response.status() == 200 || is_zero, "{value:?}");
            }
        });
    }
}

type HttpClient = BoxCloneSyncService<Request<axum::body::Body>, StatusCode, BoxError>;

/// A client with a deadline layer around the client layer.
fn client(recorder: &Recorder) -> HttpClient {
    let connector = HttpConnector::new();
    let hyper: HyperClient<_, axum::body::Body> = HyperClient::builder(TokioExecutor::new()).build(connector);
    // Each server responds before its caller gives up, which it would see as a cancellation.
    let deadline = DeadlineLayer::new().with_header(header()).with_reserve(Duration::from_secs(1));
    let client = deadline.layer(client_layer(recorder).layer(hyper));
    BoxCloneSyncService::new(client.map_response(|response| response.status()))
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A service that works for a while and then calls the next one.
async fn service(recorder: &Recorder, work: Duration, next: Option<SocketAddr>) -> SocketAddr {
    let handler = async move |State(client): State<HttpClient>| {
        tokio::time::sleep(work).await;
        let Some(next) = next else { return StatusCode::OK };
        let request = Request::get(format!("http://{next}/")).body(axum::body::Body::empty()).unwrap();
        client.oneshot(request).await.unwrap_or(StatusCode::BAD_GATEWAY)
    };
    let app = Router::new().route("/", get(handler)).with_state(client(recorder));
    serve(app.layer(DeadlineServerLayer::new(header())).layer(server_layer(recorder))).await
}

async fn cascade(recorder: &Recorder, last: Duration) -> (StatusCode, Vec<f64>) {
    let third = service(recorder, last, None).await;
    let second = service(recorder, Duration::from_millis(50), Some(third)).await;
    let first = service(recorder, Duration::from_millis(50), Some(second)).await;
    let request = Request::get(format!("http://{first}/")).body(axum::body::Body::empty()).unwrap();
    let context = Deadline::after(Duration::from_secs(6)).in_context(&Context::new());
    let status = client(recorder).oneshot(request).with_context(context).await;
    let status = status.unwrap_or(StatusCode::REQUEST_TIMEOUT);
    let started = async || {
        while recorder.spans().len() < 6 {
            tokio::time::sleep(Duration::from_millis(1)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(30), started()).await.unwrap();
    recorder.assert_clean();
    let mut left: Vec<f64> = recorder
        .spans()
        .iter()
        .map(|span| attribute(span, "resilience.deadline.remaining").unwrap().parse().unwrap())
        .collect();
    left.sort_by(|a, b| b.total_cmp(a));
    (status, left)
}

#[tokio::test]
async fn a_deadline_crosses_three_services_and_shortens() {
    let recorder = Recorder::new();
    let (status, left) = cascade(&recorder, Duration::ZERO).await;
    assert_eq!(status, 200, "{}", recorder.tree());
    assert!(left[0] <= 6.0 && left[2] <= 4.95 && left[5] <= 2.9, "{left:?}");
}

#[tokio::test]
async fn all_services_stop_at_the_deadline_and_no_span_is_cancelled() {
    let recorder = Recorder::new();
    let before = Instant::now();
    let (status, _) = cascade(&recorder, Duration::from_secs(60)).await;
    assert!(
        [StatusCode::REQUEST_TIMEOUT, StatusCode::GATEWAY_TIMEOUT, StatusCode::BAD_GATEWAY].contains(&status)
    );
    assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
    let errors: Vec<_> = recorder.spans().iter().map(error_type).collect();
    assert_eq!(errors, vec![Some("504".to_owned()); 6], "{}", recorder.tree());
}
