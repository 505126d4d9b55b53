//! Retries, deadlines and refusals of gRPC, with tonic on sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, SpanKind};
use otel_grpc::LayerOptions as _;
use otel_propagation::CompositePropagator;
use otel_resilience::{
    BoxError, CircuitBreakerLayer, CloneReplay, Deadline, DeadlineHeader, DeadlineLayer, DeadlineServerLayer,
    GrpcStatusLayer, ReplayBody, ReplayLayer, Retry, RetryLayer,
};
use otel_testing::Recorder;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::support::{attribute, error_type, instrumentation};

/// A service whose first calls fail; `hang` never responds.
#[derive(Clone, Default)]
struct Flaky {
    failures: u32,
    code: i32,
    /// The pushback of a failure in milliseconds.
    pushback: Option<&'static str>,
    calls: Arc<AtomicU32>,
}

#[tonic::async_trait]
impl Health for Flaky {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if request.get_ref().service == "hang" {
            std::future::pending::<()>().await;
        }
        if call < self.failures {
            let mut status = Status::new(Code::from_i32(self.code), "try again");
            if let Some(pushback) = self.pushback {
                status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
            }
            return Err(status);
        }
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("no watches"))
    }
}

async fn serve(recorder: &Recorder, service: Flaky) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = otel_grpc::ServerLayer::new().with_tracer_provider(recorder.tracer_provider());
    let server =
        server.with_meter_provider(recorder.meter_provider()).with_propagator(CompositePropagator::default());
    let layers = ServiceBuilder::new().layer(server).layer(DeadlineServerLayer::new(DeadlineHeader::grpc()));
    let router = Server::builder().layer(layers).add_service(HealthServer::new(service));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

type Client = HealthClient<BoxCloneSyncService<http::Request<Body>, http::Response<Body>, BoxError>>;

fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// A client with retries, a breaker and the deadline of the context.
fn client(recorder: &Recorder, address: SocketAddr, retry: Retry, breaker: CircuitBreakerLayer) -> Client {
    let instrumentation = instrumentation(recorder);
    let attempts = otel_grpc::ClientLayer::new().with_tracer_provider(recorder.tracer_provider());
    let attempts = attempts.with_meter_provider(recorder.meter_provider());
    let attempts = attempts.with_propagator(CompositePropagator::default()).layer(channel(address));
    let attempts = attempts
        .map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new))
        .map_response(|response: http::Response<_>| response.map(Body::new));
    let breaker = breaker.with_header(DeadlineHeader::grpc()).with_instrumentation(&instrumentation);
    let retry = RetryLayer::grpc(retry.with_instrumentation(&instrumentation));
    let service = ServiceBuilder::new()
        .layer(GrpcStatusLayer::default())
        .layer(ReplayLayer::new(1024))
        .layer(retry.with_clone_request(CloneReplay::default()))
        .layer(breaker)
        .service(attempts);
    HealthClient::new(BoxCloneSyncService::new(service))
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new("stock", Duration::from_secs(20))
}

fn retry() -> Retry {
    Retry::new("stock").with_delays(Duration::from_millis(1), Duration::from_millis(2)).with_span(true)
}

fn check(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn a_call_is_retried_after_unavailable_in_the_headers() {
    let recorder = Recorder::new();
    let service = Flaky { failures: 2, code: 14, ..Flaky::default() };
    let address = serve(&recorder, service).await;
    client(&recorder, address, retry(), breaker()).check(check("")).await.unwrap();
    recorder.assert_clean();
    let spans = recorder.spans();
    let attempts: Vec<_> = spans.iter().filter(|span| span.span_kind == SpanKind::Client).collect();
    let seen: Vec<_> = attempts
        .iter()
        .map(|span| ["rpc.response.status_code", "rpc.request.resend_count"].map(|key| attribute(span, key)))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    let expected = [[text("UNAVAILABLE"), None], [text("UNAVAILABLE"), text("1")], [text("OK"), text("2")]];
    assert_eq!(seen, expected, "{}", recorder.tree());
    let logical = recorder.span("stock");
    assert!(attempts.iter().all(|span| span.parent_span_id == logical.span_context.span_id()));
    assert_eq!(error_type(&logical), None);
    let servers = spans.iter().filter(|span| span.span_kind == SpanKind::Server);
    let parents: Vec<_> = servers.map(|span| span.parent_span_id).collect();
    assert!(attempts.iter().all(|span| parents.contains(&span.span_context.span_id())));
}

#[tokio::test]
async fn other_statuses_and_a_forbidding_pushback_are_not_retried() {
    for (code, pushback, calls) in
        [(14, Some("-1"), 1), (14, Some("2"), 2), (13, None, 1), (8, None, 1), (4, None, 1)]
    {
        let recorder = Recorder::new();
        let service = Flaky { failures: 1, code, pushback, ..Flaky::default() };
        let seen = Arc::clone(&service.calls);
        let address = serve(&recorder, service).await;
        let result = client(&recorder, address, retry(), breaker()).check(check("")).await;
        assert_eq!(seen.load(Ordering::Relaxed), calls, "{code} {pushback:?}");
        assert_eq!(result.is_ok(), calls == 2);
        recorder.assert_clean();
        let error = error_type(&recorder.span("stock"));
        assert_eq!(error.is_some(), result.is_err(), "{error:?}");
    }
}

#[tokio::test]
async fn both_sides_of_a_call_that_hangs_are_deadline_exceeded() {
    let recorder = Recorder::new();
    let address = serve(&recorder, Flaky::default()).await;
    let client = client(&recorder, address, retry(), breaker());
    // Connected before the deadline begins.
    client.clone().check(check("")).await.unwrap();
    let context = Deadline::after(Duration::from_secs(2)).in_context(&Context::new());
    let status = client.clone().check(check("hang")).with_context(context).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let ended = async || {
        while recorder.spans().len() < 6 {
            tokio::time::sleep(Duration::from_millis(1)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended()).await.unwrap();
    recorder.assert_clean();
    let spans = recorder.spans();
    let is_late =
        |span: &&opentelemetry_sdk::trace::SpanData| error_type(span).as_deref() == Some("DEADLINE_EXCEEDED");
    let mut late: Vec<_> = spans.iter().filter(is_late).map(|span| format!("{:?}", span.span_kind)).collect();
    late.sort();
    assert_eq!(late, ["Client", "Server"], "{}", recorder.tree());
    let others: Vec<_> =
        spans.iter().filter_map(error_type).filter(|error| error != "DEADLINE_EXCEEDED").collect();
    assert_eq!(others, ["timeout"], "of the logical call: {}", recorder.tree());
}

#[tokio::test]
async fn a_refused_call_has_a_status() {
    let recorder = Recorder::new();
    let service = Flaky { failures: 9, code: 13, ..Flaky::default() };
    let seen = Arc::clone(&service.calls);
    let address = serve(&recorder, service).await;
    let breaker = breaker().with_window(1, 1).with_open_time(Duration::from_secs(600));
    let client = client(&recorder, address, retry(), breaker);
    assert_eq!(client.clone().check(check("")).await.unwrap_err().code(), Code::Internal);
    let refused = client.clone().check(check("")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "call refused: circuit breaker is open")
    );
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    let context = Deadline::after(Duration::ZERO).in_context(&Context::new());
    let refused = client.clone().check(check("")).with_context(context).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_error_that_is_not_ours_passes() {
    let service = tower::service_fn(async |_: http::Request<Body>| {
        Err::<http::Response<Body>, BoxError>("another error".into())
    });
    let error = GrpcStatusLayer::default().layer(service).oneshot(http::Request::new(Body::empty())).await;
    assert_eq!(error.unwrap_err().to_string(), "another error");
    // Without a deadline nothing changes.
    let service = tower::service_fn(async |_: http::Request<Body>| {
        Ok::<_, BoxError>(http::Response::new(Body::empty()))
    });
    DeadlineLayer::new().layer(service).oneshot(http::Request::new(Body::empty())).await.unwrap();
}
