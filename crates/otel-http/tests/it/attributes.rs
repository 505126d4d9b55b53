//! Addresses and URLs of requests in all their forms, and the forwarding headers that a server believes.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use opentelemetry_sdk::trace::SpanData;
use otel_http::{ClientLayer, ForwardingHeaders, PeerAddr};
use otel_testing::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt};

use crate::support::{call, client_layer, serve, server_layer};

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
}

#[tokio::test]
async fn a_call_in_origin_form_has_an_absolute_url_and_no_invented_port() {
    type Option = fn(ClientLayer) -> ClientLayer;
    let unknown: Option = |layer| layer;
    let (tls, plain): (Option, Option) = (|layer| layer.with_tls(true), |layer| layer.with_tls(false));
    for (option, host, url, port) in [
        (unknown, "api.example:8080", "http://api.example:8080/x", Some("8080")),
        (unknown, "api.example", "http://api.example/x", None),
        (tls, "api.example", "https://api.example/x", Some("443")),
        (plain, "api.example", "http://api.example/x", Some("80")),
    ] {
        let recorder = Recorder::new();
        let client =
            option(client_layer(&recorder)).layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
                Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
            }));
        client.oneshot(Request::get("/x").header("host", host).body(Empty::new()).unwrap()).await.unwrap();
        let span = recorder.span("GET");
        assert_eq!(attribute(&span, "url.full").as_deref(), Some(url));
        assert_eq!(attribute(&span, "server.address").as_deref(), Some("api.example"));
        assert_eq!(attribute(&span, "server.port").as_deref(), port, "{url}");
        let durations = recorder.metric("http.client.request.duration");
        assert_eq!(durations.points()[0].attribute("server.port").map(ToString::to_string).as_deref(), port);
    }
}

async fn forwarded(kind: ForwardingHeaders, headers: &[(&str, &str)]) -> SpanData {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_trusted_proxies(kind, ["10.0.0.0/8".parse().unwrap()]);
    let mut request = Request::get("/").extension(PeerAddr("10.0.0.1:999".parse().unwrap()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    call(&layer, request.body(Empty::new()).unwrap(), |_| async { Response::new(Body::empty()) }).await;
    recorder.span("GET")
}

#[tokio::test]
async fn a_forwarding_header_that_the_proxies_do_not_write_is_not_read() {
    let headers = [
        ("host", "shop.example"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=6.6.6.6;proto=http;host=evil.example"),
    ];
    let span = forwarded(ForwardingHeaders::XForwarded, &headers).await;
    assert_eq!(attribute(&span, "client.address").as_deref(), Some("192.0.2.7"));
    assert_eq!(attribute(&span, "server.address").as_deref(), Some("shop.example"));
    assert_eq!(attribute(&span, "url.scheme").as_deref(), Some("https"));
    let span = forwarded(ForwardingHeaders::Forwarded, &headers).await;
    assert_eq!(attribute(&span, "client.address").as_deref(), Some("6.6.6.6"));
}

#[tokio::test]
async fn a_client_with_an_obfuscated_port_has_its_address() {
    let headers = [("forwarded", "for=\"192.0.2.43:_http\"")];
    let span = forwarded(ForwardingHeaders::Forwarded, &headers).await;
    assert_eq!(attribute(&span, "client.address").as_deref(), Some("192.0.2.43"));
    assert_eq!(attribute(&span, "client.port"), None);
}

#[tokio::test]
async fn a_request_of_http_1_0_without_a_host_is_recorded() {
    let recorder = Recorder::new();
    let address =
        serve(Router::new().route("/", get(|| async { "ok" })).layer(server_layer(&recorder))).await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("200"), "{text}");
    recorder.wait_for_spans(1).await;
    let span = recorder.spans().pop().unwrap();
    assert_eq!(attribute(&span, "network.protocol.version").as_deref(), Some("1.0"));
    assert_eq!(attribute(&span, "server.address"), None);
}

#[tokio::test]
async fn an_ipv6_host_has_its_port_and_no_brackets() {
    let recorder = Recorder::new();
    let request = Request::get("/").header("host", "[2001:db8::1]:8443").body(Empty::new()).unwrap();
    call(&server_layer(&recorder), request, |_| async { Response::new(Body::empty()) }).await;
    let span = recorder.span("GET");
    assert_eq!(attribute(&span, "server.address").as_deref(), Some("2001:db8::1"));
    assert_eq!(attribute(&span, "server.port").as_deref(), Some("8443"));
}
