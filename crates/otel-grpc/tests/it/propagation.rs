//! Propagation through metadata: by the layers, by application code, and across tasks.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Sampler;
use otel_grpc::{LayerOptions, MetadataExtractor, MetadataInjector, ServerLayer};
use otel_propagation::{B3Propagator, CompositePropagator, PropagatorHandle};
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Server;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::echo::{EchoClient, EchoServer, messages, say};
use crate::support::{client, client_layer, endpoint, listen, pair, serve, server_layer, spans_of};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Returns a remote context with a trace state and baggage.
fn elsewhere(flags: TraceFlags) -> Context {
    let state = TraceState::from_key_value([("a", "1")]).unwrap();
    let span = SpanContext::new(TraceId::from_hex(TRACE).unwrap(), SpanId::from(7), flags, true, state);
    Context::new().with_remote_span_context(span).with_baggage([KeyValue::new("tenant", "acme")])
}

type Seen = Arc<Mutex<HeaderMap>>;

/// Serves the echo service and stores the headers of the last request.
async fn serve_seeing(layer: ServerLayer) -> (std::net::SocketAddr, Seen) {
    let seen = Seen::default();
    let (address, incoming) = listen().await;
    let sees = Arc::clone(&seen);
    let layers = ServiceBuilder::new().layer(layer).map_request(move |request: Request<Body>| {
        *sees.lock().unwrap() = request.headers().clone();
        request
    });
    let server = Server::builder().layer(layers.into_inner()).add_service(EchoServer);
    tokio::spawn(server.serve_with_incoming(incoming));
    (address, seen)
}

#[tokio::test]
async fn one_trace_runs_through_both_sides_with_its_state_and_baggage() {
    let (caller, callee) = (Recorder::new(), Recorder::new());
    let client = client(&client_layer(&caller), serve(server_layer(&callee)).await);
    let call = client.unary(say("context")).with_context(elsewhere(TraceFlags::SAMPLED));
    let answer = call.await.unwrap().into_inner().text;
    callee.wait_for_spans(1).await;
    let (sent, received) = (caller.span("test.Echo/Unary"), callee.span("test.Echo/Unary"));
    assert_eq!(sent.span_context.trace_id().to_string(), TRACE);
    assert_eq!(sent.parent_span_id, SpanId::from(7));
    assert_eq!(received.parent_span_id, sent.span_context.span_id());
    assert!(received.parent_span_is_remote);
    let own = received.span_context.span_id();
    assert_eq!(answer, format!("{TRACE} {own} a=1 tenant=acme"));
    caller.assert_clean();
    callee.assert_clean();
}

#[tokio::test]
async fn other_propagators_have_their_own_metadata() {
    for multi in [false, true] {
        let b3 = || {
            CompositePropagator::empty().with_b3(if multi {
                B3Propagator::multi()
            } else {
                B3Propagator::single()
            })
        };
        let recorder = Recorder::new();
        let (address, seen) = serve_seeing(server_layer(&recorder).with_propagator(b3())).await;
        let client = client(&client_layer(&recorder).with_propagator(b3()), address);
        client.unary(say("hello")).await.unwrap();
        recorder.wait_for_spans(2).await;
        assert!(recorder.tree().contains("└── SERVER test.Echo/Unary  ⇠ remote"), "{}", recorder.tree());
        let seen = seen.lock().unwrap();
        assert!(seen.contains_key(if multi { "x-b3-traceid" } else { "b3" }), "{seen:?}");
        assert!(!seen.contains_key("traceparent"), "{seen:?}");
    }
    // A propagator of the SDK.
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder).with_propagator(TraceContextPropagator::new())).await;
    let layer = client_layer(&recorder).with_propagator(TraceContextPropagator::new());
    client(&layer, address).unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    assert!(recorder.tree().contains("└── SERVER test.Echo/Unary  ⇠ remote"), "{}", recorder.tree());
}

#[tokio::test]
async fn what_stands_in_the_metadata_already_is_replaced_and_the_rest_goes_on() {
    let recorder = Recorder::new();
    let (address, seen) = serve_seeing(server_layer(&recorder)).await;
    let mut request = tonic::Request::new(say("hello"));
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
    metadata.insert("tracestate", "old=1".parse().unwrap());
    metadata.insert("baggage", "old=1".parse().unwrap());
    metadata.append("x-other", "one".parse().unwrap());
    metadata.append("x-other", "two".parse().unwrap());
    metadata.insert_bin("x-data-bin", MetadataValue::from_bytes(b"\x00\xff"));
    client(&client_layer(&recorder), address).unary(request).await.unwrap();
    recorder.wait_for_spans(2).await;
    let seen = seen.lock().unwrap();
    let own = spans_of(&recorder, SpanKind::Client)[0].span_context.clone();
    let own = format!("00-{}-{}-01", own.trace_id(), own.span_id());
    assert_eq!(seen.get_all("traceparent").iter().collect::<Vec<_>>(), [own.as_str()]);
    assert!(!seen.contains_key("tracestate"), "{seen:?}");
    assert_eq!(seen["baggage"], "old=1", "the context has none");
    assert_eq!(seen.get_all("x-other").iter().collect::<Vec<_>>(), ["one", "two"]);
    let seen = MetadataMap::from_headers(seen.clone());
    assert_eq!(seen.get_bin("x-data-bin").unwrap().to_bytes().unwrap(), &b"\x00\xff"[..]);
    assert!(!recorder.tree().contains("x-"), "{}", recorder.tree());
}

#[tokio::test]
async fn where_the_span_is_not_the_calls_own_the_callers_metadata_stays() {
    let (caller, callee) = (Recorder::new(), Recorder::new());
    caller.shutdown();
    let (address, seen) = serve_seeing(server_layer(&callee)).await;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let mut request = tonic::Request::new(say("hello"));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("baggage", "old=1".parse().unwrap());
    let call = client(&client_layer(&caller), address);
    call.unary(request).with_context(elsewhere(TraceFlags::SAMPLED)).await.unwrap();
    {
        let seen = seen.lock().unwrap();
        assert_eq!(seen.get_all("traceparent").iter().collect::<Vec<_>>(), [parent.as_str()]);
        assert!(!seen.contains_key("tracestate"));
        assert_eq!(seen.get_all("baggage").iter().collect::<Vec<_>>(), ["old=1"]);
    }
    let call = client(&client_layer(&caller), address);
    call.unary(tonic::Request::new(say("hello"))).with_context(elsewhere(TraceFlags::SAMPLED)).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen["traceparent"], format!("00-{TRACE}-0000000000000007-01"));
    assert_eq!(seen["tracestate"], "a=1");
    assert_eq!(seen["baggage"], "tenant=acme");
}

#[tokio::test]
async fn context_is_written_and_read_by_hand() {
    let propagation = PropagatorHandle::new(CompositePropagator::default());
    let mut metadata = MetadataMap::new();
    metadata.insert("traceparent", "old".parse().unwrap());
    metadata.insert("x-other", "kept".parse().unwrap());
    metadata.insert_bin("x-data-bin", MetadataValue::from_bytes(b"\x00\xff"));
    propagation.inject(&elsewhere(TraceFlags::SAMPLED), &mut MetadataInjector(&mut metadata));
    assert_eq!(metadata.get("traceparent").unwrap(), &format!("00-{TRACE}-0000000000000007-01"));
    assert_eq!(metadata.get("x-other").unwrap(), "kept");
    let read = propagation.extract(&MetadataExtractor(&metadata));
    assert_eq!(read.span().span_context().trace_id().to_string(), TRACE);
    assert_eq!(read.span().span_context().trace_state().header(), "a=1");
    assert_eq!(read.baggage().get("tenant").unwrap().as_str(), "acme");

    // A server layer continues the context that application code injected.
    let recorder = Recorder::new();
    let mut request = tonic::Request::new(say("hello"));
    *request.metadata_mut() = metadata;
    EchoClient(endpoint(serve(server_layer(&recorder)).await).connect_lazy()).unary(request).await.unwrap();
    recorder.wait_for_spans(1).await;
    assert_eq!(recorder.span("test.Echo/Unary").parent_span_id, SpanId::from(7));
}

#[tokio::test]
async fn a_context_among_the_extensions_is_the_parent() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let mut request = tonic::Request::new(say("hello"));
    request.extensions_mut().insert(elsewhere(TraceFlags::SAMPLED));
    // The context in the extensions takes precedence over the current one.
    let other = Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(1),
        SpanId::from(1),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    ));
    client.unary(request).with_context(other).await.unwrap();
    recorder.wait_for_spans(2).await;
    assert!(recorder.spans().iter().all(|span| span.span_context.trace_id().to_string() == TRACE));
}

#[tokio::test]
async fn a_buffer_inside_of_the_layer_loses_nothing() {
    // tonic's channel is also a buffer, inside of this one.
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder)).await;
    let buffer = tower::buffer::Buffer::new(endpoint(address).connect_lazy(), 4);
    let client = EchoClient(client_layer(&recorder).layer(buffer));
    client.unary(say("hello")).with_context(elsewhere(TraceFlags::SAMPLED)).await.unwrap();
    recorder.wait_for_spans(2).await;
    assert!(recorder.spans().iter().all(|span| span.span_context.trace_id().to_string() == TRACE));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_buffer_around_the_layer_needs_the_context_among_the_extensions() {
    for told in [true, false] {
        let recorder = Recorder::new();
        let address = serve(server_layer(&recorder)).await;
        let layered = client_layer(&recorder).layer(endpoint(address).connect_lazy());
        let client = EchoClient(tower::buffer::Buffer::new(layered, 4));
        let context = elsewhere(TraceFlags::SAMPLED);
        let mut request = tonic::Request::new(say("hello"));
        if told {
            request.extensions_mut().insert(context.clone());
        }
        client.unary(request).with_context(context).await.unwrap();
        recorder.wait_for_spans(2).await;
        for span in recorder.spans() {
            assert_eq!(span.span_context.trace_id().to_string() == TRACE, told, "{}", recorder.tree());
        }
    }
}

#[tokio::test]
async fn the_calls_context_is_current_in_a_clients_channel() {
    let recorder = Recorder::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let see = move || sees.lock().unwrap().push(Context::current().span().span_context().span_id());
    let channel = tower::service_fn(move |_: Request<Body>| {
        see();
        let see = see.clone();
        async move {
            see();
            tokio::task::yield_now().await;
            see();
            let frames = futures_util::stream::poll_fn(move |_| {
                see();
                std::task::Poll::Ready(None::<Result<http_body::Frame<bytes::Bytes>, Infallible>>)
            });
            Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames))))
        }
    });
    let request = Request::post("/test.Echo/Unary").body(Body::empty()).unwrap();
    let response = client_layer(&recorder).layer(channel).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    let own = recorder.span("grpc").span_context.span_id();
    assert_eq!(*seen.lock().unwrap(), [own; 4]);
}

#[tokio::test]
async fn an_unsampled_parent_is_passed_on_unsampled_and_still_measured() {
    let recorder =
        Recorder::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).build();
    let (address, seen) = serve_seeing(server_layer(&recorder)).await;
    let client = client(&client_layer(&recorder), address);
    client.unary(say("hello")).with_context(elsewhere(TraceFlags::default())).await.unwrap();
    let sent = seen.lock().unwrap()["traceparent"].to_str().unwrap().to_owned();
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"), "{sent}");
    let measured = |side| recorder.metric(&format!("rpc.{side}.call.duration")).count() == 1;
    crate::support::until("both durations", || measured("client") && measured("server")).await;
    assert!(recorder.spans().is_empty());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_stream_of_requests_runs_in_its_calls_context_where_that_was_asked_for() {
    for asked in [false, true] {
        let recorder = Recorder::new();
        let layer = client_layer(&recorder).with_request_context(asked);
        let client = client(&layer, serve(server_layer(&recorder)).await);
        let (seen, mut told) = tokio::sync::mpsc::unbounded_channel();
        let requests = messages(stream::iter(["a", "b"]).map(move |text| {
            seen.send(Context::current().span().span_context().clone()).unwrap();
            say(text)
        }));
        client.collect(requests).await.unwrap();
        recorder.wait_for_spans(2).await;
        let call = recorder.spans().into_iter().find(|span| span.span_kind == SpanKind::Client).unwrap();
        for _ in 0..2 {
            let current = told.recv().await.unwrap();
            assert_eq!(current == call.span_context, asked, "{current:?}");
        }
        recorder.assert_clean();
    }
}
