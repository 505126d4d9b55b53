//! Options: recorded calls, parents, attributes; and resend counts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use opentelemetry::trace::{SpanId, SpanKind};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::Sampler;
use otel_grpc::{LayerOptions, ResendCounter, SamplerAttributes};
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::transport::Server;
use tonic::{Code, GrpcMethod};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt, retry};

use crate::echo::{EchoClient, EchoServer, UNARY, say};
use crate::support::{
    self, attribute, client, client_layer, endpoint, listen, pair, serve, server_layer, spans_of,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn excluded_services_are_served_unrecorded() {
    const HEALTH: &str = "grpc.health.v1.Health";
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let (_reporter, health) = tonic_health::server::health_reporter();
    let layer = server_layer(&recorder).with_excluded_services([HEALTH]);
    let server = Server::builder().layer(layer).add_service(health).add_service(EchoServer);
    tokio::spawn(server.serve_with_incoming(incoming));

    let layer = client_layer(&recorder).with_excluded_services([HEALTH]);
    let check = async |layer: &otel_grpc::ClientLayer| {
        let mut client = HealthClient::new(layer.layer(endpoint(address).connect_lazy()));
        let answer = client.check(HealthCheckRequest { service: String::new() }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1);
    };
    check(&layer).await;
    client(&layer, address).unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    assert!(recorder.spans().iter().all(|span| span.name == UNARY), "{}", recorder.tree());
    assert!(!recorder.metrics().contains("health"), "{}", recorder.metrics());
    recorder.assert_clean();

    // A layer without excluded services records the call.
    check(&client_layer(&recorder)).await;
    assert_eq!(recorder.span("grpc.health.v1.Health/Check").span_kind, SpanKind::Client);
}

#[tokio::test]
async fn a_filter_sees_the_call_and_leaves_it_alone() {
    let recorder = Recorder::new();
    let server = server_layer(&recorder)
        .with_filter(|call| call.service == "test.Echo" && call.method != "Unary" && call.uri.path() != "/");
    let layer = client_layer(&recorder)
        .with_filter(|call| !call.headers.contains_key("x-quiet") && call.extensions.get::<u8>().is_none());
    let client = client(&layer, serve(server).await);
    let mut quiet = tonic::Request::new(say("hello"));
    quiet.metadata_mut().insert("x-quiet", "yes".parse().unwrap());
    client.unary(quiet).await.unwrap();
    let mut quiet = tonic::Request::new(say("hello"));
    quiet.extensions_mut().insert(1_u8);
    client.unary(quiet).await.unwrap();
    assert!(recorder.tree().is_empty() && recorder.metrics().is_empty(), "{}", recorder.tree());
    let mut answers = client.repeat(say("hello")).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_none());
    recorder.wait_for_spans(2).await;
    recorder.assert_clean();
}

/// Makes a call with a caller's context and baggage, and returns the context that the handler observed.
async fn called_from_outside(address: std::net::SocketAddr, via: bool) -> String {
    let mut request = tonic::Request::new(say("context"));
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
    metadata.insert("baggage", "role=admin".parse().unwrap());
    if via {
        metadata.insert("x-from-outside", "yes".parse().unwrap());
    }
    EchoClient(endpoint(address).connect_lazy()).unary(request).await.unwrap().into_inner().text
}

#[tokio::test]
async fn a_public_endpoint_links_its_caller_and_drops_its_baggage() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder).with_public_endpoint(true)).await;
    let seen = called_from_outside(address, false).await;
    recorder.wait_for_spans(1).await;
    let span = recorder.span(UNARY);
    assert!(!seen.contains("role") && !seen.contains(TRACE), "{seen}");
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert_ne!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.links.links.len(), 1);
    assert_eq!(span.links.links[0].span_context.trace_id().to_string(), TRACE);

    for outside in [true, false] {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder)
            .with_public_endpoint_if(|call| call.headers.contains_key("x-from-outside"));
        let seen = called_from_outside(serve(layer).await, outside).await;
        recorder.wait_for_spans(1).await;
        assert_eq!(seen.contains("role=admin"), !outside, "{seen}");
        assert_eq!(recorder.span(UNARY).span_context.trace_id().to_string() == TRACE, !outside);
    }
}

#[tokio::test]
async fn a_stranger_without_a_context_makes_no_link() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder).with_public_endpoint(true)).await;
    EchoClient(endpoint(address).connect_lazy()).unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(1).await;
    assert!(recorder.span(UNARY).links.links.is_empty(), "{}", recorder.tree());
}

#[tokio::test]
async fn a_hook_adds_attributes_where_they_are_seen() {
    for (sampler, times) in [(Sampler::AlwaysOn, 1), (Sampler::ParentBased(Box::new(Sampler::AlwaysOn)), 0)] {
        let recorder = Recorder::builder().with_sampler(sampler).build();
        let ran = Arc::new(AtomicUsize::new(0));
        let runs = Arc::clone(&ran);
        let layer = server_layer(&recorder).with_request_attributes(move |call, attributes| {
            runs.fetch_add(1, Ordering::Relaxed);
            attributes.push(KeyValue::new("app.call", format!("{} {}", call.service, call.method)));
        });
        let mut request = tonic::Request::new(say("hello"));
        let parent = if times == 0 { "00" } else { "01" };
        let parent = format!("00-{TRACE}-b7ad6b7169203331-{parent}");
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        EchoClient(endpoint(serve(layer).await).connect_lazy()).unary(request).await.unwrap();
        let durations = || recorder.metric("rpc.server.call.duration").count();
        support::until("the duration", || durations() == 1).await;
        assert_eq!(ran.load(Ordering::Relaxed), times);
        let told: Vec<_> = recorder.spans().iter().filter_map(|span| attribute(span, "app.call")).collect();
        assert_eq!(told, vec!["test.Echo Unary"; times]);
    }
}

#[tokio::test]
async fn a_sampler_may_see_attributes_under_every_parent() {
    for (input, times) in [(SamplerAttributes::IfParentAllows, 0), (SamplerAttributes::Always, 1)] {
        let recorder = Recorder::builder().with_sampler(Sampler::AlwaysOff).build();
        let ran = Arc::new(AtomicUsize::new(0));
        let runs = Arc::clone(&ran);
        let layer =
            server_layer(&recorder).with_sampler_attributes(input).with_request_attributes(move |_, _| {
                runs.fetch_add(1, Ordering::Relaxed);
            });
        let mut request = tonic::Request::new(say("hello"));
        let parent = format!("00-{TRACE}-b7ad6b7169203331-00");
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        EchoClient(endpoint(serve(layer).await).connect_lazy()).unary(request).await.unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), times, "{input:?}");
    }
}

/// Returns the values of captured metadata.
fn captured(span: &opentelemetry_sdk::trace::SpanData, name: &str) -> Option<Vec<String>> {
    let value = &span.attributes.iter().find(|kv| kv.key.as_str() == name)?.value;
    let Value::Array(opentelemetry::Array::String(values)) = value else { panic!("{name} is {value:?}") };
    Some(values.iter().map(|value| value.as_str().to_owned()).collect())
}

#[tokio::test]
async fn metadata_is_captured_by_name_and_within_bounds() {
    const LISTED: [&str; 4] = ["x-tenant", "x-many", "x-long", "x-data-bin"];
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let service = tower::service_fn(|_: Request<Body>| async {
        let response = Response::builder().header("x-tenant", "answers").header("x-secret", "hidden");
        let response = response.header("x-data-bin", "AAH/").header("grpc-status", 0);
        Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
    });
    let server = server_layer(&recorder).with_request_metadata(LISTED).with_response_metadata(LISTED);
    let server = Server::builder().layer(server);
    tokio::spawn(async move { server.serve_with_incoming(service, incoming).await });

    let layer = client_layer(&recorder).with_request_metadata(LISTED).with_response_metadata(["X-Tenant"]);
    let mut request = tonic::Request::new(say("hello"));
    let metadata = request.metadata_mut();
    metadata.insert("x-tenant", "acme".parse().unwrap());
    metadata.insert("x-secret", "hidden".parse().unwrap());
    metadata.insert("x-long", "l".repeat(3_000).parse().unwrap());
    metadata.insert_bin("x-data-bin", tonic::metadata::MetadataValue::from_bytes(b"\x00\x01\xff"));
    for number in 0..40 {
        metadata.append("x-many", number.to_string().parse().unwrap());
    }
    // The response has no message, so that tonic returns an error.
    client(&layer, address).unary(request).await.unwrap_err();
    recorder.wait_for_spans(2).await;
    for kind in [SpanKind::Client, SpanKind::Server] {
        let span = &spans_of(&recorder, kind)[0];
        let request = |name: &str| captured(span, &format!("rpc.request.metadata.{name}"));
        assert_eq!(request("x-tenant").unwrap(), ["acme"]);
        assert_eq!(request("x-many").unwrap(), (0..16).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!(request("x-long").unwrap()[0].len(), 1_024);
        assert_eq!(captured(span, "rpc.response.metadata.x-tenant").unwrap(), ["answers"]);
    }
    for secret in ["secret", "hidden", "-bin", "AAH"] {
        assert!(!recorder.tree().contains(secret), "{secret} in\n{}", recorder.tree());
    }
}

#[tokio::test]
async fn no_metadata_is_captured_unless_it_is_listed() {
    let recorder = Recorder::new();
    let mut request = tonic::Request::new(say("hello"));
    request.metadata_mut().insert("authorization", "Bearer secret".parse().unwrap());
    pair(&recorder).await.unary(request).await.unwrap();
    recorder.wait_for_spans(2).await;
    assert!(!recorder.tree().contains("metadata") && !recorder.tree().contains("secret"));
}

/// A policy that retries a call until it succeeds.
#[derive(Clone)]
struct Again;

fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::new(Full::new(Bytes::from_static(&[0; 5]))));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

impl<B, E> retry::Policy<Request<Body>, Response<B>, E> for Again {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut Request<Body>, result: &mut Result<Response<B>, E>) -> Option<Self::Future> {
        let ok = result.as_ref().is_ok_and(|response| response.headers()["grpc-status"] == "0");
        (!ok).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(copy(request))
    }
}

#[tokio::test]
async fn each_attempt_is_a_span_with_its_number() {
    for numbered in [true, false] {
        let recorder = Recorder::new();
        let (address, incoming) = listen().await;
        let failures = Arc::new(AtomicI32::new(2));
        let service = tower::service_fn(move |_: Request<Body>| {
            let fails = failures.fetch_sub(1, Ordering::Relaxed) > 0;
            let code = if fails { Code::Unavailable } else { Code::Ok } as i32;
            let response = Response::builder().header("grpc-status", HeaderValue::from(code));
            std::future::ready(Ok::<_, Infallible>(response.body(Body::empty()).unwrap()))
        });
        let server = Server::builder().layer(server_layer(&recorder));
        tokio::spawn(async move { server.serve_with_incoming(service, incoming).await });

        let channel = client_layer(&recorder).layer(endpoint(address).connect_lazy());
        let mut request = Request::post(format!("http://{address}/test.Echo/Unary"))
            .header("content-type", "application/grpc")
            .body(Body::new(Full::new(Bytes::from_static(&[0; 5]))))
            .unwrap();
        request.extensions_mut().insert(GrpcMethod::new("test.Echo", "Unary"));
        if numbered {
            request.extensions_mut().insert(ResendCounter::default());
        }
        retry::Retry::new(Again, channel).oneshot(request).await.unwrap();
        recorder.wait_for_spans(6).await;
        recorder.assert_clean();
        let told = spans_of(&recorder, SpanKind::Client);
        let told: Vec<_> = told
            .iter()
            .map(|span| {
                (
                    attribute(span, "rpc.response.status_code").unwrap(),
                    attribute(span, "rpc.request.resend_count"),
                )
            })
            .collect();
        let number = |number: &str| numbered.then(|| number.to_owned());
        let unavailable = "UNAVAILABLE".to_owned();
        assert_eq!(
            told,
            [(unavailable.clone(), None), (unavailable, number("1")), ("OK".to_owned(), number("2"))]
        );
        assert_eq!(recorder.metric("rpc.client.call.duration").count(), 3);
        assert_eq!(spans_of(&recorder, SpanKind::Server).len(), 3);
    }
}
