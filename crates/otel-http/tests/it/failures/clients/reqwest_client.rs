//! The classes of failures of reqwest's client.

use std::time::Duration;

use axum::response::Redirect;
use axum::{Router, routing::get};
use otel_testing::Recorder;
use reqwest::ClientBuilder;
use tower::ServiceExt;

use super::{Peer, UNKNOWN_HOST, tls};
use crate::failures::assert_class;
use crate::support::{client_layer, serve};

/// Calls `url` with a client of reqwest; the call has to fail.
async fn fail(recorder: &Recorder, client: ClientBuilder, url: &str) {
    let client = reqwest_middleware::ClientBuilder::new(client.build().unwrap());
    client.with(client_layer(recorder)).build().get(url).send().await.unwrap_err();
}

#[tokio::test]
async fn each_failure_has_its_class() {
    for (peer, class) in [
        (Peer::Absent, "connection_refused"),
        (Peer::Resetting, "connection_reset"),
        (Peer::Closing, "connection_closed"),
        (Peer::Garbage, "protocol"),
    ] {
        let recorder = Recorder::new();
        fail(&recorder, ClientBuilder::new(), &format!("http://{}/", peer.start().await)).await;
        assert_class(&recorder, class);
    }
}

#[tokio::test]
async fn time_outs_of_all_kinds_are_timeouts() {
    let short = Duration::from_millis(20);
    for client in [
        ClientBuilder::new().timeout(short),
        ClientBuilder::new().read_timeout(short),
        ClientBuilder::new().connect_timeout(short).connector_layer(tower::layer::layer_fn(|inner| {
            // The connection takes longer than its limit.
            tower::util::MapFuture::new(inner, |_| std::future::pending())
        })),
    ] {
        let recorder = Recorder::new();
        fail(&recorder, client, &format!("http://{}/", Peer::Silent.start().await)).await;
        assert_class(&recorder, "timeout");
    }
}

/// reqwest's own TLS needs certificates of the system; its connector is replaced by one that returns the same errors.
#[tokio::test]
async fn a_handshake_that_fails_is_a_failure_of_tls() {
    let recorder = Recorder::new();
    let url = format!("https://{}/", Peer::Garbage.start().await);
    let uri: http::Uri = url.parse().unwrap();
    let client = ClientBuilder::new().connector_layer(tower::layer::layer_fn(move |inner| {
        let uri = uri.clone();
        tower::util::MapFuture::new(inner, move |_| {
            let handshake = tls().oneshot(uri.clone());
            async move { Err(handshake.await.map(drop).unwrap_err()) }
        })
    }));
    fail(&recorder, client, &url.replace("https", "http")).await;
    assert_class(&recorder, "tls");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failure_of_dns() {
    let recorder = Recorder::new();
    fail(&recorder, ClientBuilder::new(), UNKNOWN_HOST).await;
    assert_class(&recorder, "dns");
}

#[tokio::test]
async fn a_redirect_too_many_is_a_redirect() {
    let app = Router::new().route("/", get(|| async { Redirect::temporary("/") }));
    let url = format!("http://{}/", serve(app).await);
    let recorder = Recorder::new();
    fail(&recorder, ClientBuilder::new().redirect(reqwest::redirect::Policy::limited(2)), &url).await;
    assert_class(&recorder, "redirect");
}
