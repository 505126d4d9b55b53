//! Client layers of HTTP and gRPC around one channel: one client span an attempt, and each protocol's metrics once.

use std::convert::Infallible;

use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry::trace::SpanKind;
use otel_http::EndOn;
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::{Code, GrpcMethod};
use tower::{Layer, Service, ServiceExt};

use crate::conformance::encoded;
use crate::echo::{EchoClient, EchoServer, Say, UNARY, fail, say};
use crate::layers::{http_client, http_server};
use crate::support::{attribute, client_layer, endpoint, name, serve, server_layer, spans_of};

fn call(message: &Say) -> Request<Body> {
    let request = Request::post("http://echo:1/test.Echo/Unary").header("te", "trailers");
    let request = request.extension(GrpcMethod::new("test.Echo", "Unary"));
    request.body(Body::new(Full::new(encoded(message)))).unwrap()
}

async fn run(
    client: impl Service<Request<Body>, Response = Response<impl http_body::Body>, Error: std::fmt::Debug>,
    request: Request<Body>,
) {
    let response = client.oneshot(request).await.unwrap();
    assert!(response.into_body().collect().await.is_ok());
}

#[tokio::test]
async fn an_attempt_has_the_same_span_in_both_orders() {
    for code in [Code::Ok, Code::NotFound] {
        let mut seen: Vec<Vec<String>> = Vec::new();
        for grpc_outside in [true, false] {
            let (recorder, server) = (Recorder::new(), Recorder::new());
            let channel = server_layer(&server).layer(EchoServer);
            let (grpc, http) = (client_layer(&recorder), http_client(&recorder).with_end_on(EndOn::Body));
            let message = if code == Code::Ok { say("x") } else { fail(code) };
            if grpc_outside {
                run(grpc.layer(http.layer(channel)), call(&message)).await;
            } else {
                run(http.layer(grpc.layer(channel)), call(&message)).await;
            }
            assert_eq!(recorder.spans().len(), 1, "{}", recorder.tree());
            let span = recorder.spans().pop().unwrap();
            assert_eq!((&*span.name, &span.span_kind), (UNARY, &SpanKind::Client));
            assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some(name(code)));
            assert_eq!(attribute(&span, "http.response.status_code").as_deref(), Some("200"));
            assert_eq!(attribute(&span, "error.type").as_deref(), (code != Code::Ok).then(|| name(code)));
            for metric in ["rpc.client.call.duration", "http.client.request.duration"] {
                assert_eq!(recorder.metric(metric).count(), 1, "{}", recorder.metrics());
            }
            let mut list: Vec<_> =
                span.attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
            list.sort();
            assert!(list.windows(2).all(|pair| pair[0] != pair[1]), "{list:?}");
            seen.push(list);
            // A server inside of a client, on the same thread, has its own span.
            assert_eq!(server.spans().len(), 1);
            assert_eq!(server.spans()[0].parent_span_id, span.span_context.span_id());
            recorder.assert_clean();
        }
        assert_eq!(seen[0], seen[1]);
    }
}

#[tokio::test]
async fn each_attempt_of_a_retry_between_the_layers_has_a_span() {
    let recorder = Recorder::new();
    let inner = client_layer(&recorder).layer(EchoServer);
    let retry = tower::service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        async move {
            let headers = request.headers().clone();
            let attempt = |message: &Say| {
                let mut request = call(message);
                *request.headers_mut() = headers.clone();
                inner.clone().oneshot(request)
            };
            let first = attempt(&fail(Code::Unavailable)).await?;
            assert!(first.into_body().collect().await.is_ok());
            attempt(&say("x")).await
        }
    });
    run(http_client(&recorder).with_end_on(EndOn::Body).layer(retry), call(&say("x"))).await;
    // The first attempt is part of the owner's span; the second one is its child.
    let spans = recorder.spans();
    assert_eq!(spans.len(), 2, "{}", recorder.tree());
    assert!(
        spans.iter().any(|span| span.parent_span_id == spans[1].span_context.span_id()),
        "{}",
        recorder.tree()
    );
    assert_eq!(recorder.metric("rpc.client.call.duration").count(), 2);
    assert_eq!(recorder.metric("http.client.request.duration").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_call_that_a_layer_between_makes_for_a_token_has_its_own_span() {
    let recorder = Recorder::new();
    let (tokens, inner) =
        (client_layer(&recorder).layer(EchoServer), client_layer(&recorder).layer(EchoServer));
    let between = tower::service_fn(move |request: Request<Body>| {
        let (tokens, inner) = (tokens.clone(), inner.clone());
        async move {
            run(tokens, call(&say("token"))).await;
            inner.oneshot(request).await
        }
    });
    run(client_layer(&recorder).layer(between), call(&say("x"))).await;
    assert_eq!(recorder.spans().len(), 2, "{}", recorder.tree());
    assert_eq!(recorder.metric("rpc.client.call.duration").count(), 2);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_http_layer_alone_around_a_channel_carries_the_trace_on() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder)).await;
    let client = EchoClient(http_client(&recorder).layer(endpoint(address).connect_lazy()));
    client.unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    let (client, server) = (spans_of(&recorder, SpanKind::Client), spans_of(&recorder, SpanKind::Server));
    assert_eq!((client.len(), server.len()), (1, 1), "{}", recorder.tree());
    assert_eq!(server[0].parent_span_id, client[0].span_context.span_id());
    assert_eq!(recorder.metric("http.client.request.duration").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_http_layer_alone_in_front_of_a_server_records_its_calls() {
    let recorder = Recorder::new();
    run(http_server(&recorder).layer(EchoServer), call(&say("hello"))).await;
    assert_eq!(recorder.spans().len(), 1);
    assert_eq!(recorder.metric("http.server.request.duration").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_server_and_a_client_of_one_call_on_one_thread_are_two_spans() {
    let recorder = Recorder::new();
    let client = client_layer(&recorder).layer(EchoServer);
    let handler = tower::service_fn(move |_: Request<Body>| {
        run(client.clone(), call(&say("x"))).map(|()| Ok::<_, Infallible>(Response::new(Body::empty())))
    });
    run(http_server(&recorder).layer(handler), Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(spans_of(&recorder, SpanKind::Server).len(), 1);
    assert_eq!(spans_of(&recorder, SpanKind::Client).len(), 1);
    recorder.assert_clean();
}
