//! A server and a client with one recorder, and assertions about finished calls.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use otel_grpc::{ClientLayer, ClientService, LayerOptions, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Server};
use tower::Layer;

use crate::echo::{EchoClient, EchoServer};

/// Returns a server layer that records into `recorder`.
pub(crate) fn server_layer(recorder: &Recorder) -> ServerLayer {
    recording(ServerLayer::new(), recorder)
}

/// Returns a client layer that records into `recorder`.
pub(crate) fn client_layer(recorder: &Recorder) -> ClientLayer {
    recording(ClientLayer::new(), recorder)
}

/// Serves the echo service on an unused port.
pub(crate) async fn serve(layer: ServerLayer) -> SocketAddr {
    let (address, incoming) = listen().await;
    tokio::spawn(Server::builder().layer(layer).add_service(EchoServer).serve_with_incoming(incoming));
    address
}

/// Listens on an unused port, for a server that a test builds.
pub(crate) async fn listen() -> (SocketAddr, TcpListenerStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), TcpListenerStream::new(listener))
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).unwrap()
}

/// Returns a client of the server at `address`. The connection is established lazily.
pub(crate) fn client(layer: &ClientLayer, address: SocketAddr) -> EchoClient<ClientService<Channel>> {
    let endpoint = endpoint(address);
    let layer = layer.clone().with_target(endpoint.uri());
    EchoClient(layer.layer(endpoint.connect_lazy()))
}

/// Starts an instrumented server and returns an instrumented client of it.
pub(crate) async fn pair(recorder: &Recorder) -> EchoClient<ClientService<Channel>> {
    client(&client_layer(recorder), serve(server_layer(recorder)).await)
}

/// Polls a condition that has no notification.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the server has started a call.
pub(crate) async fn until_served(recorder: &Recorder) {
    until("the server", || recorder.tree().contains("SERVER")).await;
}

/// Drops a call that never completes, once the server has started it.
pub(crate) async fn drop_when_served<T>(recorder: &Recorder, call: impl Future<Output = T>) {
    drop_when(|| recorder.tree().contains("SERVER"), call).await;
}

/// Drops a call that never completes, once a condition holds.
pub(crate) async fn drop_when<T>(holds: impl Fn() -> bool, call: impl Future<Output = T>) {
    tokio::select! {
        _ = call => panic!("the call should not end"),
        () = until("the condition", holds) => {}
    }
}

/// Returns the finished spans of one side.
pub(crate) fn spans_of(recorder: &Recorder, kind: SpanKind) -> Vec<SpanData> {
    recorder.spans().into_iter().filter(|span| span.span_kind == kind).collect()
}

/// Returns an attribute of a span as text.
pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
}

/// Returns the `error.type` of a status: every status but OK is an error on clients, these are errors on servers.
fn error(kind: &SpanKind, status: &'static str) -> Option<&'static str> {
    let servers = ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
    let failed = if *kind == SpanKind::Client { status != "OK" } else { servers.contains(&status) };
    failed.then_some(status)
}

/// Asserts one span of this kind, ended once, one duration with the same status and error, and no open span.
#[track_caller]
pub(crate) fn assert_one(recorder: &Recorder, kind: SpanKind, status: &'static str, error: Option<&str>) {
    recorder.assert_clean();
    let tree = recorder.tree();
    let spans = spans_of(recorder, kind.clone());
    assert_eq!(spans.len(), 1, "{kind:?} spans in\n{tree}");
    let side = if kind == SpanKind::Client { "client" } else { "server" };
    assert_eq!(
        attribute(&spans[0], "rpc.response.status_code").as_deref(),
        Some(status),
        "{side} of\n{tree}"
    );
    assert_eq!(attribute(&spans[0], "error.type").as_deref(), error, "{side} of\n{tree}");
    assert_eq!(matches!(spans[0].status, Status::Error { .. }), error.is_some(), "{side} of\n{tree}");
    let durations = recorder.metric(&format!("rpc.{side}.call.duration"));
    assert_eq!(durations.count(), 1, "{}", recorder.metrics());
    let durations = durations.with("rpc.response.status_code", status);
    let durations = match error {
        Some(error) => durations.with("error.type", error.to_owned()),
        None => durations.without("error.type"),
    };
    assert_eq!(durations.count(), 1, "{}", recorder.metrics());
}

/// Waits for both spans of one call and asserts their statuses and the errors that follow from them.
#[track_caller]
pub(crate) fn assert_call(
    recorder: &Recorder,
    client: &'static str,
    server: &'static str,
) -> impl Future<Output = ()> {
    assert_failed_call(recorder, client, error(&SpanKind::Client, client), server)
}

/// Waits for both spans of one call and asserts their statuses, and the client's error.
#[track_caller]
pub(crate) fn assert_failed_call(
    recorder: &Recorder,
    client: &'static str,
    client_error: Option<&'static str>,
    server: &'static str,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        recorder.wait_for_spans(2).await;
        let ended = std::panic::AssertUnwindSafe(|| {
            assert_one(recorder, SpanKind::Client, client, client_error);
            assert_one(recorder, SpanKind::Server, server, error(&SpanKind::Server, server));
        });
        assert!(std::panic::catch_unwind(ended).is_ok(), "the call at {caller}");
    }
}

/// The names of the statuses in the conventions.
pub(crate) const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(crate) fn name(code: Code) -> &'static str {
    NAMES[code as usize]
}

pub(crate) fn recording<L: LayerOptions>(layer: L, recorder: &Recorder) -> L {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let layer = layer.with_tracer_provider(recorder.tracer_provider());
    layer.with_meter_provider(recorder.meter_provider()).with_propagator(CompositePropagator::default())
}
