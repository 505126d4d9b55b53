//! Combinations with other layers, in particular otel-http's: each request is recorded once.

use http::Request;
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::{Code, Status};
use tower::{Layer, ServiceExt};

use crate::echo::{EchoClient, EchoServer, say};
use crate::support::{assert_call, client, client_layer, endpoint, listen, server_layer};

pub(crate) fn http_server(recorder: &Recorder) -> otel_http::ServerLayer {
    otel_http::ServerLayer::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(otel_propagation::CompositePropagator::default())
}

pub(crate) fn http_client(recorder: &Recorder) -> otel_http::ClientLayer {
    otel_http::ClientLayer::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(otel_propagation::CompositePropagator::default())
}

/// Returns the first lines of a tree's spans, without attributes and nesting.
pub(crate) fn headlines(recorder: &Recorder) -> Vec<String> {
    let tree = recorder.tree();
    let lines = tree.lines().filter(|line| ["CLIENT ", "SERVER "].iter().any(|kind| line.contains(kind)));
    lines.map(|line| line.trim_start_matches(['│', '├', '└', '─', ' ']).to_owned()).collect()
}

#[tokio::test]
async fn who_wants_a_call_as_http_too_has_both() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let http = http_server(&recorder);
    let mut server = Server::builder().layer(http).layer(server_layer(&recorder));
    tokio::spawn(server.add_service(EchoServer).serve_with_incoming(incoming));
    client(&client_layer(&recorder), address).unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(3).await;
    assert_eq!(recorder.metric("rpc.server.call.duration").count(), 1);
    assert_eq!(recorder.metric("http.server.request.duration").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn what_is_no_call_passes_a_servers_layer_untouched() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let service = tower::service_fn(|request: Request<Body>| async move {
        let sent = request.headers().contains_key("traceparent");
        Ok::<_, std::convert::Infallible>(
            http::Response::builder().header("x-sent", sent.to_string()).body(Body::empty()).unwrap(),
        )
    });
    let server = Server::builder().layer(server_layer(&recorder));
    tokio::spawn(async move { server.serve_with_incoming(service, incoming).await });
    for kind in ["application/json", "text/plain"] {
        let request = Request::post("/x").header("content-type", kind).body(Body::empty()).unwrap();
        let response = endpoint(address).connect_lazy().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-sent"], "false");
    }
    assert!(recorder.tree().is_empty(), "{}", recorder.tree());
    assert_eq!(recorder.metrics(), "");
}

#[tokio::test]
async fn one_service_may_have_a_layer_of_its_own() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().add_service(server_layer(&recorder).layer(EchoServer)).add_service(health);
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = EchoClient(endpoint(address).connect_lazy());
    client.unary(say("hello")).await.unwrap();
    // The health service does not know the checked service, and its calls are not recorded.
    let status = client.by_hand("/grpc.health.v1.Health/Check").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    recorder.wait_for_spans(1).await;
    assert_eq!(headlines(&recorder), ["SERVER test.Echo/Unary"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn what_an_interceptor_refuses_is_a_call_where_the_layer_is_outside_of_it() {
    let refuse =
        |_: tonic::Request<()>| Err::<tonic::Request<()>, _>(Status::unauthenticated("who are you?"));
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let guarded = InterceptedService::new(EchoServer, refuse);
    let server = Server::builder().layer(server_layer(&recorder)).add_service(guarded);
    tokio::spawn(server.serve_with_incoming(incoming));
    let status = client(&client_layer(&recorder), address).unary(say("hello")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_call(&recorder, "UNAUTHENTICATED", "UNAUTHENTICATED").await;

    // A client interceptor outside of the layer rejects the call, so that no call is recorded.
    let recorder = Recorder::new();
    let channel = client_layer(&recorder).layer(endpoint(address).connect_lazy());
    let client = EchoClient(InterceptedService::new(channel, refuse));
    assert_eq!(client.unary(say("hello")).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(recorder.tree().is_empty(), "{}", recorder.tree());
}
