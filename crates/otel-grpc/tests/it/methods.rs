//! The methods that a server knows from the file descriptor sets of its services.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use otel_grpc::ServerLayer;
use otel_testing::Recorder;
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use tonic::body::Body;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tower::{Layer, ServiceExt};

use crate::echo::{COLLECT, EchoClient, EchoServer, TALK, UNARY, messages, say};
use crate::support::{attribute, endpoint, listen, recording, serve, server_layer, spans_of};

/// Returns the names of the server's spans, and the methods of its metric.
pub(crate) fn names(recorder: &Recorder) -> (BTreeSet<String>, BTreeSet<String>) {
    let spans = spans_of(recorder, SpanKind::Server).into_iter().map(|span| span.name.into_owned());
    let durations = recorder.metric("rpc.server.call.duration");
    let methods =
        durations.points().iter().filter_map(|point| point.attribute("rpc.method").map(ToString::to_string));
    (spans.collect(), methods.collect())
}

fn set(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned()])
}

pub(crate) fn unnamed() -> (BTreeSet<String>, BTreeSet<String>) {
    (set("grpc"), set("_OTHER"))
}

pub(crate) fn named(name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    (set(name), set(name))
}

/// A sampler that samples every span and keeps the names that it received.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameSampler(pub(crate) Arc<Mutex<Vec<String>>>);

impl ShouldSample for NameSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        name: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        self.0.lock().unwrap().push(name.to_owned());
        let state = parent.map(|parent| parent.span().span_context().trace_state().clone());
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: state.unwrap_or_default(),
        }
    }
}

/// A reply of one message.
pub(crate) async fn reply(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(response("application/grpc", Some(b"\0\0\0\0\0"), Some(Code::Ok)))
}

/// A response with this data and this status in its trailers.
pub(crate) fn response(
    content_type: &str,
    data: Option<&'static [u8]>,
    trailers: Option<Code>,
) -> Response<Body> {
    let trailers = trailers.map(|code| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", (code as i32).into());
        Frame::trailers(trailers)
    });
    let frames = data.map(Bytes::from_static).map(Frame::data).into_iter().chain(trailers);
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
    Response::builder().header("content-type", content_type).body(Body::new(body)).unwrap()
}

/// Serves the echo service behind an interceptor that rejects calls while the switch is on.
pub(crate) async fn guarded(layer: ServerLayer, code: Code, rejects: Arc<AtomicBool>) -> EchoClient<Channel> {
    let (address, incoming) = listen().await;
    let guard = move |request: tonic::Request<()>| {
        if rejects.load(Ordering::SeqCst) { Err(Status::new(code, "not now")) } else { Ok(request) }
    };
    let service = InterceptedService::new(EchoServer, guard);
    tokio::spawn(Server::builder().layer(layer).add_service(service).serve_with_incoming(incoming));
    EchoClient(endpoint(address).connect_lazy())
}

/// Returns an encoded file descriptor set with these methods of one service.
fn descriptors(package: &str, service: &str, methods: impl IntoIterator<Item = String>) -> Vec<u8> {
    let method = |name| MethodDescriptorProto { name: Some(name), ..Default::default() };
    let service = ServiceDescriptorProto {
        name: Some(service.into()),
        method: methods.into_iter().map(method).collect(),
        ..Default::default()
    };
    let package = Some(package.into()).filter(|package: &String| !package.is_empty());
    let file = FileDescriptorProto { package, service: vec![service], ..Default::default() };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn echo_descriptors() -> Vec<u8> {
    descriptors("test", "Echo", ["Unary", "Collect", "Repeat"].map(str::to_owned))
}

/// Returns a layer that knows the methods of the echo service, but `Talk`.
fn known_layer(recorder: &Recorder) -> ServerLayer {
    recording(ServerLayer::for_services(&[&echo_descriptors()]).unwrap(), recorder)
}

#[tokio::test]
async fn the_methods_of_the_services_are_known_from_the_start_and_no_others() {
    let sampler = NameSampler::default();
    let recorder = Recorder::builder().with_sampler(sampler.clone()).build();
    let client = EchoClient(endpoint(serve(known_layer(&recorder)).await).connect_lazy());
    client.unary(say("hello")).await.unwrap();
    client.collect(messages(stream::iter([say("hello")]))).await.unwrap();
    // The server has this method, but the descriptors do not.
    client.talk(messages(stream::iter([say("hello")]))).await.unwrap().into_inner().message().await.unwrap();
    recorder.wait_for_spans(3).await;
    assert_eq!(*sampler.0.lock().unwrap(), [UNARY, COLLECT, "grpc"]);
    let durations = recorder.metric("rpc.server.call.duration");
    for method in [UNARY, COLLECT, "_OTHER"] {
        assert_eq!(durations.clone().with("rpc.method", method).count(), 1, "{}", recorder.metrics());
    }
    let other = recorder.span("grpc");
    assert_eq!(attribute(&other, "rpc.method_original").unwrap(), TALK);
}

#[tokio::test]
async fn services_come_from_several_sets_and_packages() {
    let recorder = Recorder::new();
    let bare = descriptors("", "Bare", ["Call".to_owned()]);
    let sets: [&[u8]; 3] = [&bare, &echo_descriptors(), tonic_health::pb::FILE_DESCRIPTOR_SET];
    let layer = recording(ServerLayer::for_services(&sets).unwrap(), &recorder).with_known_methods([TALK]);
    let service = layer.layer(tower::service_fn(rejection));
    let known = ["Bare/Call", UNARY, "grpc.health.v1.Health/Watch", TALK];
    for method in known {
        let request = Request::post(format!("/{method}")).body(Body::empty()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    let spans = recorder.spans();
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), known);
}

#[test]
fn a_set_that_names_no_service_is_an_error() {
    let sound = echo_descriptors();
    let messages_only = FileDescriptorSet { file: vec![FileDescriptorProto::default()] }.encode_to_vec();
    for (sets, expected) in [
        (&[b"no descriptors" as &[u8]] as &[&[u8]], "file descriptor set 0 cannot be decoded"),
        (&[&sound, &sound[..sound.len() - 1]], "file descriptor set 1 cannot be decoded"),
        (&[&sound, b""], "file descriptor set 1 has no service"),
        (&[&messages_only], "file descriptor set 0 has no service"),
    ] {
        let error = ServerLayer::for_services(sets).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.source().is_some(), expected.ends_with("decoded"), "{error:?}");
    }
    assert!(ServerLayer::for_services(&[&sound]).is_ok());
}

#[tokio::test]
async fn no_known_method_loses_its_name_to_unknown_ones_or_to_many() {
    let recorder = Recorder::new();
    let set = descriptors("test", "Large", (0..1_500).map(|number| format!("M{number}")));
    let layer = recording(ServerLayer::for_services(&[&set]).unwrap(), &recorder);
    let service = layer.layer(tower::service_fn(reply));
    let call = async |path: String| {
        let response =
            service.clone().oneshot(Request::post(path).body(Body::empty()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    };
    for number in 0..2_000 {
        call(format!("/test.Large/Unknown{number}")).await;
    }
    for number in 0..1_500 {
        call(format!("/test.Large/M{number}")).await;
    }
    let spans = recorder.spans();
    assert!(spans[..2_000].iter().all(|span| span.name == "grpc"));
    for (number, span) in spans[2_000..].iter().enumerate() {
        assert_eq!(span.name, format!("test.Large/M{number}"));
    }
    assert_eq!(recorder.metric("rpc.server.call.duration").points().len(), 1_501);
}

/// A status without a body, as interceptors and the fallback of tonic's router send.
async fn rejection(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Status::resource_exhausted("slow down").into_http())
}

#[tokio::test]
async fn a_rejected_call_has_its_name_if_the_services_are_known() {
    for (is_known, expected) in [(true, named(UNARY)), (false, unnamed())] {
        let recorder = Recorder::new();
        let layer = if is_known { known_layer(&recorder) } else { server_layer(&recorder) };
        let client = guarded(layer, Code::Unauthenticated, Arc::new(true.into())).await;
        for _ in 0..5 {
            client.unary(say("hello")).await.unwrap_err();
        }
        recorder.wait_for_spans(5).await;
        assert_eq!(names(&recorder), expected);
    }
}

#[tokio::test]
async fn a_method_whose_calls_all_time_out_has_its_name_if_the_services_are_known() {
    for (is_known, expected) in [(true, named(UNARY)), (false, unnamed())] {
        let recorder = Recorder::new();
        let layer = if is_known { known_layer(&recorder) } else { server_layer(&recorder) };
        let client = EchoClient(endpoint(serve(layer).await).connect_lazy());
        // On a busy machine a call can time out before it reaches the server, and then has no span there.
        for _ in 0..100 {
            let mut request = tonic::Request::new(say("wait"));
            request.set_timeout(Duration::from_millis(50));
            client.unary(request).await.unwrap_err();
            if recorder.spans().len() >= 3 {
                break;
            }
        }
        recorder.wait_for_spans(3).await;
        assert_eq!(names(&recorder), expected);
    }
}
