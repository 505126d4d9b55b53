//! gRPC-Web: the status of a call is recorded whether the layer is inside of tonic-web's or outside.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry::trace::{SpanKind, Status};
use otel_grpc::MessageEvents;
use otel_testing::Recorder;
use tonic::Code;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::conformance::encoded;
use crate::echo::{EchoServer, REPEAT, Say, UNARY, fail, repeat, say};
use crate::support::{assert_one, attribute, client_layer, name, server_layer};

type Server = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

fn boxed<S, B>(service: S) -> Server
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<tower::BoxError>> + Send + 'static,
{
    BoxCloneService::new(service.map_response(|response| response.map(Body::new)))
}

/// The places of the layer: inside of tonic-web's, outside, and both.
const PLACES: [&str; 3] = ["inside", "outside", "both"];

fn server(place: &str, recorder: &Recorder) -> Server {
    let layer = server_layer(recorder).with_message_events(MessageEvents::Each);
    let web = GrpcWebLayer::new();
    match place {
        "inside" => boxed(web.layer(boxed(layer.layer(EchoServer)))),
        "outside" => boxed(layer.layer(boxed(web.layer(EchoServer)))),
        _ => boxed(layer.clone().layer(boxed(web.layer(boxed(layer.layer(EchoServer)))))),
    }
}

const KINDS: [&str; 2] = ["application/grpc-web+proto", "application/grpc-web-text"];

fn request(kind: &str, path: &str, message: &Say) -> Request<Body> {
    let message = if kind == KINDS[1] { base64(&encoded(message)) } else { encoded(message) };
    let request = Request::post(format!("/{path}")).header("content-type", kind).header("accept", kind);
    request.body(Body::new(Full::new(message))).unwrap()
}

fn base64(bytes: &[u8]) -> Bytes {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().chain(&[0, 0]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for at in 0..4 {
            text.push(if at <= part.len() { ALPHABET[bits >> (18 - 6 * at) & 63] } else { b'=' });
        }
    }
    text.into()
}

async fn call(server: Server, request: Request<Body>) -> Bytes {
    server.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
}

fn error_of_server(code: Code) -> Option<&'static str> {
    [Code::Internal, Code::DataLoss].contains(&code).then(|| name(code))
}

#[tokio::test]
async fn the_status_of_a_call_is_seen_at_every_place() {
    for (place, kind) in PLACES.into_iter().flat_map(|place| KINDS.map(|kind| (place, kind))) {
        for code in [Code::Ok, Code::Internal, Code::NotFound] {
            let recorder = Recorder::new();
            let message = if code == Code::Ok { say("hello") } else { fail(code) };
            call(server(place, &recorder), request(kind, UNARY, &message)).await;
            assert_one(&recorder, SpanKind::Server, name(code), error_of_server(code));
            // Interceptors reject calls with a status alone, so that it confirms no method.
            let method = if code == Code::Ok { UNARY } else { "grpc" };
            assert_eq!(recorder.spans()[0].name, method, "{place} {kind}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_fails_after_messages_has_its_status_and_its_messages() {
    for (place, kind) in PLACES.into_iter().flat_map(|place| KINDS.map(|kind| (place, kind))) {
        let recorder = Recorder::new();
        call(server(place, &recorder), request(kind, REPEAT, &repeat(3, Code::DataLoss))).await;
        assert_one(&recorder, SpanKind::Server, "DATA_LOSS", Some("DATA_LOSS"));
        let span = &recorder.spans()[0];
        // The text of gRPC-Web is not parsed for messages, and the trailers are no message.
        if place == "inside" || kind == KINDS[0] {
            assert_eq!(attribute(span, "rpc.messages.sent").as_deref(), Some("3"), "{place} {kind}");
            let events = |direction: &str| {
                span.events.iter().filter(|event| format!("{event:?}").contains(direction)).count()
            };
            assert_eq!((events("SENT"), events("RECEIVED")), (3, 1), "{place} {kind}");
        }
    }
}

/// A server that answers the preflights of CORS, as tower-http's layer does inside of ours.
fn with_preflights() -> Server {
    let web = boxed(GrpcWebLayer::new().layer(EchoServer));
    boxed(service_fn(move |request: Request<Body>| {
        let web = web.clone();
        async move {
            match *request.method() {
                Method::OPTIONS => Ok(Response::new(Body::empty())),
                _ => web.oneshot(request).await,
            }
        }
    }))
}

#[tokio::test]
async fn a_preflight_and_the_get_of_a_scanner_are_no_calls() {
    for (is_listed, method) in [true, false]
        .into_iter()
        .flat_map(|listed| [Method::OPTIONS, Method::GET].map(|method| (listed, method)))
    {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder);
        let layer = if is_listed { layer.with_known_methods([UNARY]) } else { layer };
        let server = boxed(layer.layer(with_preflights()));
        // A server without a list learns the method from this call.
        call(server.clone(), request(KINDS[0], UNARY, &say("hello"))).await;
        let mut other = request(KINDS[0], UNARY, &say("hello"));
        *other.method_mut() = method;
        assert!(call(server, other).await.is_empty());
        let span = &recorder.spans()[1];
        assert_eq!((&*span.name, &span.status), ("grpc", &Status::Unset), "{}", recorder.tree());
        for key in ["rpc.method", "rpc.response.status_code", "error.type"] {
            assert_eq!(attribute(span, key), None, "{}", recorder.tree());
        }
        assert_eq!(recorder.metric("rpc.server.call.duration").count(), 1, "{}", recorder.metrics());
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_get_that_grpc_responds_to_is_a_call_of_an_unknown_method() {
    let recorder = Recorder::new();
    // tonic's service looks at the path alone.
    let server = boxed(server_layer(&recorder).with_known_methods([UNARY]).layer(EchoServer));
    let mut request = request("application/grpc", UNARY, &say("hello"));
    *request.method_mut() = Method::GET;
    call(server, request).await;
    assert_one(&recorder, SpanKind::Server, "OK", None);
    let span = &recorder.spans()[0];
    assert_eq!(attribute(span, "rpc.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(span, "rpc.method_original").as_deref(), Some(UNARY));
}

/// A layer between two of ours that removes the trailers.
#[derive(Clone)]
struct WithoutTrailers(Server);

impl Service<Request<Body>> for WithoutTrailers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let response = self.0.call(request);
        let without = |response: Response<Body>| async {
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            Ok(Response::from_parts(head, Body::new(Full::new(bytes))))
        };
        response.then(move |response| without(response.unwrap())).boxed()
    }
}

#[tokio::test]
async fn an_outer_layer_that_sees_no_trailers_takes_the_status_of_the_inner_one() {
    for code in [Code::Internal, Code::NotFound] {
        let recorder = Recorder::new();
        let inner = boxed(server_layer(&recorder).layer(EchoServer));
        let outer = boxed(server_layer(&recorder).layer(WithoutTrailers(inner)));
        // The status is in the trailers, after a message.
        call(outer, request("application/grpc", REPEAT, &repeat(1, code))).await;
        assert_one(&recorder, SpanKind::Server, name(code), error_of_server(code));
    }
}

#[tokio::test]
async fn a_client_outside_of_tonic_webs_sees_the_status() {
    for code in [Code::Ok, Code::NotFound] {
        let recorder = Recorder::new();
        let client = client_layer(&recorder)
            .layer(tonic_web::GrpcWebClientLayer::new().layer(GrpcWebLayer::new().layer(EchoServer)));
        let message = if code == Code::Ok { say("hello") } else { fail(code) };
        let mut request = request("application/grpc", UNARY, &message);
        *request.version_mut() = http::Version::HTTP_2;
        let response = client.oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
        assert_one(&recorder, SpanKind::Client, name(code), (code != Code::Ok).then(|| name(code)));
    }
}
