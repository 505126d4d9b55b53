//! All that is recorded with every option on is in the registry of the conventions, or listed in docs/conventions.md.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use otel_http::{EndOn, ForwardingHeaders, LateRoute, LayerOptions, PeerAddr, ResendCounter, UrlTemplate};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};
use tower::{Layer, ServiceExt};

use crate::support::{TRACEPARENT, call, client_layer, server_layer};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

async fn serve(recorder: &Recorder) {
    for (public, status) in [(false, 200), (true, 500)] {
        let layer = server_layer(recorder)
            .with_body_sizes(true)
            .with_public_endpoint(public)
            .with_late_route(true)
            .with_trusted_proxies(ForwardingHeaders::Forwarded, ["10.0.0.0/8".parse().unwrap()])
            .with_request_headers(["accept"])
            .with_response_headers(["server"]);
        for method in ["POST", "PURR"] {
            let request = Request::builder()
                .method(method)
                .uri("/users/7?sort=name")
                .header("host", "shop.example:8080")
                .header("forwarded", "for=\"192.0.2.7:4711\"")
                .header("traceparent", TRACEPARENT)
                .header("user-agent", "parrot/1")
                .header("accept", "text/plain")
                .header("content-length", "3")
                .extension(PeerAddr("10.0.0.1:1".parse().unwrap()));
            let answer = move |request: Request<_>| async move {
                request.extensions().get::<LateRoute>().unwrap().set("/users/{id}");
                let response = Response::builder().status(status).header("server", "parrot");
                response.body(Body::from("12345")).unwrap()
            };
            let response = call(&layer, request.body(Empty::new()).unwrap(), answer).await;
            response.into_body().collect().await.unwrap();
        }
    }
}

async fn request(recorder: &Recorder) {
    let layer = client_layer(recorder)
        .with_body_sizes(true)
        .with_end_on(EndOn::Body)
        .with_request_headers(["accept"])
        .with_response_headers(["server"]);
    let client = layer.layer(tower::service_fn(|request: Request<Empty<Bytes>>| async move {
        if request.uri().path() == "/gone" {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        }
        Ok(Response::builder().status(503).header("server", "parrot").body(Body::from("12345")).unwrap())
    }));
    let attempts = ResendCounter::default();
    for (method, path) in [("GET", "/users/7"), ("GET", "/users/7"), ("PURR", "/gone")] {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://api.example:8080{path}"))
            .header("accept", "text/plain")
            .header("content-length", "0")
            .extension(UrlTemplate("/users/{id}".into()))
            .extension(attempts.clone());
        let response = client.clone().oneshot(request.body(Empty::new()).unwrap()).await;
        if let Ok(response) = response {
            response.into_body().collect().await.unwrap();
        }
    }
}

#[tokio::test]
async fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    serve(&recorder).await;
    request(&recorder).await;
    recorder.assert_clean();
    for name in [
        "client.port",
        "http.request.header.accept",
        "http.request.method_original",
        "http.request.resend_count",
        "http.response.header.server",
        "http.server.request.body.size",
        "http.client.response.body.size",
        "network.peer.address",
        "url.query",
        "url.template",
        "user_agent.original",
    ] {
        assert!(
            recorder.tree().contains(name) || recorder.metrics().contains(name),
            "{name} is not recorded"
        );
    }
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-http").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()));
}
