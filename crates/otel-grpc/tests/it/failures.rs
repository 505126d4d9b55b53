//! The classes of failures of a call that got no status from its peer, over sockets, and the descriptions of statuses.
//!
//! tonic's errors are classified only with the feature `transport`.

use std::io;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status as SpanStatus};
use otel_grpc::{ClientLayer, LayerOptions};
use otel_testing::Recorder;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Status};
use tower::{BoxError, Layer};

use crate::echo::{EchoClient, EchoServer, fail, repeat, say};
use crate::support::{assert_one, client, client_layer, endpoint, listen, pair, spans_of};

fn seen(transport: &'static str) -> &'static str {
    if cfg!(feature = "transport") { transport } else { "UNKNOWN" }
}

/// Calls a peer that cannot be reached; asserts the status and the class.
async fn assert_unavailable(endpoint: Endpoint, class: &'static str) {
    let recorder = Recorder::new();
    let client = EchoClient(client_layer(&recorder).layer(endpoint.connect_lazy()));
    assert_eq!(client.unary(say("hello")).await.unwrap_err().code(), Code::Unavailable);
    assert_one(&recorder, SpanKind::Client, seen("UNAVAILABLE"), Some(seen(class)));
}

#[tokio::test]
async fn a_peer_that_does_not_listen_refuses_the_connection() {
    let (address, incoming) = listen().await;
    drop(incoming);
    assert_unavailable(endpoint(address), "connection_refused").await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failure_of_dns() {
    assert_unavailable(Endpoint::from_static("http://no-such-host.invalid"), "dns").await;
}

#[tokio::test]
async fn a_peer_without_a_route_is_unreachable() {
    // TCP has no route to the broadcast address.
    assert_unavailable(Endpoint::from_static("http://255.255.255.255:80"), "unreachable").await;
}

#[tokio::test]
async fn a_local_address_of_another_host_is_a_failure_to_connect() {
    let (address, _incoming) = listen().await;
    // No interface has an address for documentation (RFC 5737).
    let endpoint = endpoint(address).local_address(Some("192.0.2.1".parse().unwrap()));
    assert_unavailable(endpoint, "connect").await;
}

#[tokio::test]
async fn a_handshake_of_tcp_that_nobody_answers_is_a_timeout() {
    let short = Duration::from_millis(100);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // The system drops connections beyond the queue of the listener.
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(short, tokio::net::TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    assert_unavailable(endpoint(address).connect_timeout(short), "timeout").await;
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn a_handshake_that_fails_is_a_failure_of_tls() {
    use tokio::io::AsyncWriteExt;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"this is not TLS").await.unwrap();
        std::future::pending::<()>().await;
    });
    let tls = tonic::transport::ClientTlsConfig::new().domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    assert_unavailable(endpoint, "tls").await;
}

/// A deadline has one name, whether the client or the server sees it first.
#[tokio::test]
async fn a_time_out_is_the_deadline_exceeded() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    tokio::spawn(Server::builder().add_service(EchoServer).serve_with_incoming(incoming));
    let slow = endpoint(address).timeout(Duration::from_millis(20));
    let client = EchoClient(client_layer(&recorder).layer(slow.connect_lazy()));
    client.unary(say("wait")).await.unwrap_err();
    assert_one(&recorder, SpanKind::Client, seen("DEADLINE_EXCEEDED"), Some(seen("DEADLINE_EXCEEDED")));
}

#[cfg(feature = "transport")]
#[tokio::test]
async fn the_layers_of_tower_inside_have_their_statuses() {
    let (address, incoming) = listen().await;
    tokio::spawn(Server::builder().add_service(EchoServer).serve_with_incoming(incoming));
    let channel = || endpoint(address).connect_lazy();

    let recorder = Recorder::new();
    let layers =
        tower::ServiceBuilder::new().layer(client_layer(&recorder)).timeout(Duration::from_millis(20));
    EchoClient(layers.service(channel())).unary(say("wait")).await.unwrap_err();
    assert_one(&recorder, SpanKind::Client, "DEADLINE_EXCEEDED", Some("DEADLINE_EXCEEDED"));

    let recorder = Recorder::new();
    let layers = tower::ServiceBuilder::new().layer(client_layer(&recorder)).load_shed().concurrency_limit(0);
    EchoClient(layers.service(channel())).unary(say("hello")).await.unwrap_err();
    assert_one(&recorder, SpanKind::Client, "RESOURCE_EXHAUSTED", Some("RESOURCE_EXHAUSTED"));
}

#[tokio::test]
async fn an_application_classifies_its_errors_and_the_status_stays() {
    let recorder = Recorder::new();
    let layer = client_layer(&recorder)
        .with_error_type(|error| error.find::<std::num::ParseIntError>().map(|_| "no_number"));
    let failing = tower::service_fn(|_: http::Request<tonic::body::Body>| async {
        let error: BoxError = "x".parse::<u8>().unwrap_err().into();
        Err::<http::Response<tonic::body::Body>, _>(error)
    });
    EchoClient(layer.layer(failing)).unary(say("hello")).await.unwrap_err();
    assert_one(&recorder, SpanKind::Client, "UNKNOWN", Some("no_number"));
}

/// Fails in another way with each call.
fn fails_in_turn() -> impl tower::Service<
    http::Request<tonic::body::Body>,
    Response = http::Response<tonic::body::Body>,
    Error = BoxError,
    Future: Send,
> + Clone {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    tower::service_fn(move |_: http::Request<tonic::body::Body>| {
        let kinds =
            [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut];
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(Err(io::Error::from(kinds[call % 3]).into()))
    })
}

#[tokio::test]
async fn each_class_of_one_status_is_a_series_of_its_own() {
    let recorder = Recorder::new();
    let layer = client_layer(&recorder).with_message_metrics(true);
    let client = EchoClient(layer.layer(fails_in_turn()));
    for _ in 0..6 {
        client.unary(say("hello")).await.unwrap_err();
    }
    for metric in ["rpc.client.call.duration", "rpc.client.request.size"] {
        for class in ["connection_refused", "connection_reset", "timeout"] {
            let count = recorder.metric(metric).with("error.type", class).count();
            assert_eq!(count, 2, "{class}: {}", recorder.metrics());
        }
    }
    recorder.assert_clean();
}

/// Returns the descriptions of the spans of a client and a server.
fn descriptions(recorder: &Recorder) -> Vec<String> {
    let describe = |kind| match &spans_of(recorder, kind)[0].status {
        SpanStatus::Error { description } => description.to_string(),
        status => format!("{status:?}"),
    };
    [SpanKind::Client, SpanKind::Server].map(describe).into()
}

#[tokio::test]
async fn a_failure_is_described_by_its_message() {
    // Trailers-only, and the trailers of a stream.
    for streaming in [false, true] {
        let recorder = Recorder::new();
        let client = pair(&recorder).await;
        if streaming {
            let answers = client.repeat(repeat(2, Code::Internal)).await.unwrap().into_inner();
            drop(futures_util::StreamExt::collect::<Vec<_>>(answers).await);
        } else {
            client.unary(fail(Code::Internal)).await.unwrap_err();
        }
        recorder.wait_for_spans(2).await;
        let text = if streaming { "again" } else { "as it was asked to" };
        assert_eq!(descriptions(&recorder), [text, text], "{}", recorder.tree());
        assert!(!recorder.metrics().contains(text), "{}", recorder.metrics());
    }
}

#[tokio::test]
async fn descriptions_are_bounded_redacted_and_optional() {
    let long = "€".repeat(500);
    for (layer, text, described) in [
        (client_layer as fn(&Recorder) -> ClientLayer, &*long, &*"€".repeat(341)),
        (|recorder| client_layer(recorder).with_status_description(false), "hunter2", ""),
        (
            |recorder| {
                client_layer(recorder).with_description_redaction(|text| text.replace("hunter2", "-").into())
            },
            "token=hunter2",
            "token=-",
        ),
    ] {
        let recorder = Recorder::new();
        let (address, incoming) = listen().await;
        tokio::spawn(Server::builder().add_service(EchoServer).serve_with_incoming(incoming));
        let failing = crate::echo::Say { text: text.to_owned(), ..fail(Code::Internal) };
        client(&layer(&recorder), address).unary(failing).await.unwrap_err();
        let status = spans_of(&recorder, SpanKind::Client)[0].status.clone();
        assert_eq!(status, SpanStatus::error(described.to_owned()));
    }
}

#[tokio::test]
async fn an_error_without_a_reply_is_described_on_request() {
    for (describe, text) in [(None, ""), (Some(false), ""), (Some(true), "no replica")] {
        let recorder = Recorder::new();
        let failing = tower::service_fn(|_: http::Request<tonic::body::Body>| async {
            Err::<http::Response<tonic::body::Body>, BoxError>(Status::unavailable("no replica").into())
        });
        let mut layer = client_layer(&recorder);
        if let Some(describe) = describe {
            layer = layer.with_status_description(describe);
        }
        EchoClient(layer.layer(failing)).unary(say("hello")).await.unwrap_err();
        assert_eq!(spans_of(&recorder, SpanKind::Client)[0].status, SpanStatus::error(text));
    }
}
