//! All that is recorded with every option on is in the registry of the conventions, or listed in docs/conventions.md.

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use otel_grpc::{LayerOptions, MessageEvents, MessageSpans, ResendCounter};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, ServiceExt};

use crate::echo::{TALK, UNARY, fail, messages, say};
use crate::support::{client, client_layer, serve, server_layer};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

/// Calls over a socket, in every option's light.
async fn calls(recorder: &Recorder, events: MessageEvents) {
    let server = server_layer(recorder)
        .with_known_methods([UNARY])
        .with_message_events(events)
        .with_message_metrics(true)
        .with_active_calls(true)
        .with_request_metadata(["x-tenant"])
        .with_response_metadata(["content-type"])
        .with_public_endpoint(true);
    let layer = client_layer(recorder)
        .with_message_events(events)
        .with_message_metrics(true)
        .with_active_calls(true)
        .with_request_metadata(["x-tenant"])
        .with_response_metadata(["content-type"]);
    let client = client(&layer, serve(server).await);
    let mut request = tonic::Request::new(say("hello"));
    request.metadata_mut().insert("x-tenant", "acme".parse().unwrap());
    client.unary(request).await.unwrap();
    client.unary(fail(Code::Internal)).await.unwrap_err();
    client.collect(messages(stream::iter(["one", "three"].map(say)))).await.unwrap();
    recorder.wait_for_spans(6).await;
}

/// A call whose answer is compressed, twice with one counter of attempts, and one of an unknown method.
async fn by_hand(recorder: &Recorder) {
    let layer = client_layer(recorder).with_message_events(MessageEvents::Each);
    let service = layer.layer(tower::service_fn(|_: Request<Body>| async {
        let wire = Bytes::from_static(b"\x01\0\0\0\x03abc");
        Ok::<_, Infallible>(Response::new(Body::new(Full::new(wire))))
    }));
    let attempts = ResendCounter::default();
    for _ in 0..2 {
        let request = Request::post("http://api.example:50051/test.Echo/Unary").extension(attempts.clone());
        let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        // It has no status, which is an error of the call.
        let _ = response.into_body().collect().await;
    }
    let layer = server_layer(recorder).with_known_methods([TALK]);
    let service = layer.layer(tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::builder().header("grpc-status", 12).body(Body::empty()).unwrap())
    }));
    let request = Request::post("/test.Echo/Sing").header("content-type", "application/grpc");
    service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
}

/// A span for each message of a stream.
fn message_spans(recorder: &Recorder) -> impl Future<Output = ()> {
    let spans = MessageSpans::current(TALK)
        .with_tracer_provider(recorder.tracer_provider())
        .with_propagator(CompositePropagator::default());
    async move {
        let mut headers = HashMap::<String, String>::new();
        drop(spans.send(&mut headers));
        spans.receive(&headers, async {}).await;
    }
}

#[tokio::test]
async fn names_units_instruments_and_descriptions_are_the_registrys() {
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-grpc").unwrap());
    let mut recorded = String::new();
    for events in [MessageEvents::Each, MessageEvents::Counted] {
        let recorder = Recorder::new();
        calls(&recorder, events).await;
        by_hand(&recorder).await;
        message_spans(&recorder).await;
        recorder.assert_clean();
        check.add(&recorder);
        recorded += &recorder.tree();
    }
    // tonic's connection info has the peer, which the feature `transport` reads.
    let peer = cfg!(feature = "transport").then_some("network.peer.address");
    let names = ["rpc.method_original", "rpc.request.metadata.x-tenant", "rpc.response.metadata"];
    for name in names.into_iter().chain(peer) {
        assert!(recorded.contains(name), "{name} is not recorded:\n{recorded}");
    }
    assert_eq!(check.finish(), Ok(()));
}

#[tokio::test]
async fn nothing_outside_of_the_registry_and_nothing_deprecated_is_recorded_by_default() {
    const NONE: &str = "## otel-grpc\n\nAll names are in the registry.\n";
    let recorder = Recorder::new();
    let client = client(&client_layer(&recorder), serve(server_layer(&recorder)).await);
    client.unary(say("hello")).await.unwrap();
    client.unary(fail(Code::Internal)).await.unwrap_err();
    client.by_hand("/test.Echo/Unknown").await.unwrap_err();
    let mut replies =
        client.talk(messages(stream::iter(["one", "three"].map(say)))).await.unwrap().into_inner();
    while replies.message().await.unwrap().is_some() {}
    recorder.wait_for_spans(8).await;
    let mut check = ConventionCheck::new(ProjectNames::parse(NONE, "otel-grpc").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()));
}
