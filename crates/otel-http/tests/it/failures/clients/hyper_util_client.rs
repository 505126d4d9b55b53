//! The classes of failures of hyper-util's client.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::{Router, routing::get};
use http::Version;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use otel_testing::Recorder;
use tokio::net::TcpStream;

use super::{Peer, UNKNOWN_HOST, tls};
use crate::failures::{assert_class, fail};
use crate::support::serve;

fn client<C: Connect + Clone>(connector: C, version: Version) -> Client<C, Body> {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build(connector)
}

#[tokio::test]
async fn each_failure_has_its_class() {
    for (peer, class) in [
        (Peer::Absent, "connection_refused"),
        (Peer::Resetting, "connection_reset"),
        (Peer::Closing, "connection_closed"),
        (Peer::Garbage, "protocol"),
        (Peer::HalfBody, "body_incomplete"),
    ] {
        let recorder = Recorder::new();
        let url = format!("http://{}/", peer.start().await);
        fail(&recorder, client(HttpConnector::new(), Version::HTTP_11), &url).await;
        assert_class(&recorder, class);
    }
}

#[tokio::test]
async fn a_peer_of_http_2_that_is_absent_refuses_the_connection() {
    let recorder = Recorder::new();
    let url = format!("http://{}/", Peer::Absent.start().await);
    fail(&recorder, client(HttpConnector::new(), Version::HTTP_2), &url).await;
    assert_class(&recorder, "connection_refused");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failure_of_dns() {
    let recorder = Recorder::new();
    fail(&recorder, client(HttpConnector::new(), Version::HTTP_11), UNKNOWN_HOST).await;
    assert_class(&recorder, "dns");
}

#[tokio::test]
async fn a_connector_that_takes_too_long_is_a_timeout() {
    let recorder = Recorder::new();
    // A connector that waits like one whose packets get lost, with the error of hyper-util's.
    let connector = tower::service_fn(|_: http::Uri| {
        Box::pin(async {
            let lost = tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
            let error = io::Error::new(io::ErrorKind::TimedOut, lost.unwrap_err());
            Err::<hyper_util::rt::TokioIo<TcpStream>, _>(error)
        })
    });
    fail(&recorder, client(connector, Version::HTTP_11), "http://a.example/").await;
    assert_class(&recorder, "timeout");
}

#[tokio::test]
async fn a_handler_that_panics_resets_the_stream() {
    let recorder = Recorder::new();
    let app = Router::new().route(
        "/",
        get(|| async {
            if true {
                panic!("a bug")
            }
        }),
    );
    let url = format!("http://{}/", serve(app).await);
    fail(&recorder, client(HttpConnector::new(), Version::HTTP_2), &url).await;
    assert_class(&recorder, "stream_reset");
}

#[tokio::test]
async fn a_handshake_that_fails_is_a_failure_of_tls() {
    let recorder = Recorder::new();
    let url = format!("https://{}/", Peer::Garbage.start().await);
    fail(&recorder, client(tls(), Version::HTTP_11), &url).await;
    assert_class(&recorder, "tls");
}
