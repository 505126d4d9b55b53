//! Faulty HTTP/2 servers, which reset streams, stop responding or disconnect. The client layer classifies these
//! errors only with the feature `transport`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use h2::Reason;
use http::Response;
use opentelemetry::trace::SpanKind;
use otel_testing::Recorder;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::Code;
use tower::Layer;

use crate::echo::{EchoClient, say};
use crate::support::{self, assert_one, client, client_layer, name};

/// Starts a server that resets each stream at once, or after headers and a message once `when` is notified.
async fn resetting(reason: Reason, when: Option<Arc<Notify>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let Some(when) = when.clone() else {
                respond.send_reset(reason);
                continue;
            };
            tokio::spawn(async move {
                let head = Response::builder().header("content-type", "application/grpc");
                let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
                body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
                when.notified().await;
                body.send_reset(reason);
            });
        }
    });
    address
}

#[tokio::test]
async fn a_reset_is_what_http2_says_that_it_is() {
    for (reason, code, class) in [
        (Reason::INTERNAL_ERROR, Code::Internal, "stream_reset"),
        (Reason::PROTOCOL_ERROR, Code::Internal, "protocol"),
        (Reason::REFUSED_STREAM, Code::Unavailable, "overloaded"),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (Reason::INADEQUATE_SECURITY, Code::PermissionDenied, "PERMISSION_DENIED"),
        (Reason::CANCEL, Code::Cancelled, "CANCELLED"),
        (Reason::NO_ERROR, Code::Internal, "stream_reset"),
    ] {
        let recorder = Recorder::new();
        let address = resetting(reason, None).await;
        let status = client(&client_layer(&recorder), address).repeat(say("hello")).await.unwrap_err();
        assert_eq!(status.code(), code, "{reason:?}");
        assert_one(&recorder, SpanKind::Client, name(code), Some(class));

        let recorder = Recorder::new();
        let when = Arc::new(Notify::new());
        let client = client(&client_layer(&recorder), resetting(reason, Some(when.clone())).await);
        let mut answers = client.repeat(say("hello")).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap();
        when.notify_one();
        let status = answers.next().await.unwrap().unwrap_err();
        let class = if reason == Reason::NO_ERROR {
            // hyper treats it as the end of the body, which has no status then.
            assert_eq!(status.code(), Code::Unknown);
            "UNKNOWN"
        } else {
            assert_eq!(status.code(), code, "{reason:?}");
            class
        };
        assert_one(&recorder, SpanKind::Client, name(status.code()), Some(class));
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_unavailable() {
    let recorder = Recorder::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = support::endpoint(listener.local_addr().unwrap())
        .http2_keep_alive_interval(Duration::from_millis(20))
        .keep_alive_timeout(Duration::from_millis(20));
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let _call = connection.accept().await;
        // The connection is no longer polled, so that pings are not acknowledged.
        std::future::pending::<()>().await;
    });
    let client = EchoClient(client_layer(&recorder).layer(endpoint.connect_lazy()));
    assert_eq!(client.unary(say("hello")).await.unwrap_err().code(), Code::Unavailable);
    assert_one(&recorder, SpanKind::Client, "UNAVAILABLE", Some("timeout"));
}

#[tokio::test]
async fn a_server_that_hangs_up_at_once_is_what_tonic_says() {
    let recorder = Recorder::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket);
        }
    });
    let status = client(&client_layer(&recorder), address).unary(say("hello")).await.unwrap_err();
    assert_one(&recorder, SpanKind::Client, name(status.code()), Some(name(status.code())));
}
