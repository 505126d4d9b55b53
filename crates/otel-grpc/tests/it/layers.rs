//! Combinations with other layers, in particular otel-http's: each request is recorded once.

use http::Request;
use otel_grpc::LayerOptions;
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::{Code, Status};
use tower::{Layer, ServiceExt};

use crate::echo::{EchoClient, EchoServer, say};
use crate::support::{assert_call, attribute, client, client_layer, endpoint, listen, server_layer};

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
async fn the_servers_layers_of_http_and_grpc_record_a_call_once() {
    for grpc_outside in [true, false] {
        let recorder = Recorder::new();
        let (address, incoming) = listen().await;
        let server = Server::builder();
        let (grpc, http) = (server_layer(&recorder), http_server(&recorder));
        if grpc_outside {
            let server = server.layer(grpc).layer(http).add_service(EchoServer);
            tokio::spawn(server.serve_with_incoming(incoming));
        } else {
            let server = server.layer(http).layer(grpc).add_service(EchoServer);
            tokio::spawn(server.serve_with_incoming(incoming));
        }
        client(&client_layer(&recorder), address).unary(say("hello")).await.unwrap();
        recorder.wait_for_spans(2).await;
        assert_eq!(headlines(&recorder), ["CLIENT test.Echo/Unary", "SERVER test.Echo/Unary  ⇠ remote"]);
        assert_eq!(recorder.metric("rpc.server.call.duration").count(), 1);
        assert_eq!(recorder.metric("http.server.request.duration").count(), 1);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn the_clients_layers_of_http_and_grpc_record_a_call_once() {
    for grpc_outside in [true, false] {
        let recorder = Recorder::new();
        let address = crate::support::serve(server_layer(&recorder)).await;
        let channel = endpoint(address).connect_lazy();
        let (grpc, http) = (client_layer(&recorder), http_client(&recorder));
        if grpc_outside {
            EchoClient(grpc.layer(http.layer(channel))).unary(say("hello")).await.unwrap();
        } else {
            EchoClient(http.layer(grpc.layer(channel))).unary(say("hello")).await.unwrap();
        }
        recorder.wait_for_spans(2).await;
        assert_eq!(headlines(&recorder), ["CLIENT test.Echo/Unary", "SERVER test.Echo/Unary  ⇠ remote"]);
        assert_eq!(recorder.metric("rpc.client.call.duration").count(), 1);
        assert_eq!(recorder.metric("http.client.request.duration").count(), 1);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_filtered_call_continues_its_callers_trace_and_is_not_recorded() {
    let recorder = Recorder::new();
    let layers = [
        server_layer(&recorder).with_filter(|_| false),
        server_layer(&recorder).with_excluded_services(["test.Echo"]),
    ];
    for layer in layers {
        let client = EchoClient(endpoint(crate::support::serve(layer).await).connect_lazy());
        let mut request = tonic::Request::new(say("context"));
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        let current = client.unary(request).await.unwrap().into_inner().text;
        assert_eq!(current, "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 ");
    }
    assert!(recorder.tree().is_empty(), "{}", recorder.tree());
    assert_eq!(recorder.metrics(), "");
}

#[tokio::test]
async fn a_response_that_is_not_grpcs_is_a_span_and_no_call() {
    let recorder = Recorder::new();
    let service = |status: u16| {
        let page = move |_: Request<Body>| async move {
            Ok::<_, std::convert::Infallible>(
                http::Response::builder()
                    .status(status)
                    .header("content-type", "text/html")
                    .body(Body::empty())
                    .unwrap(),
            )
        };
        server_layer(&recorder).with_request_metadata(["x-tenant"]).layer(tower::service_fn(page))
    };
    for (status, error) in [(200, None), (401, None), (503, Some("503"))] {
        // The caller's content type decides nothing.
        let request =
            Request::post("/api/login").header("content-type", "application/grpc").header("x-tenant", "a");
        drop(service(status).oneshot(request.body(Body::empty()).unwrap()).await.unwrap());
        let span = recorder.spans().pop().unwrap();
        assert_eq!((&*span.name, attribute(&span, "error.type").as_deref()), ("grpc", error));
        assert!(!span.attributes.iter().any(|kv| kv.key.as_str().starts_with("rpc.")), "{}", recorder.tree());
    }
    assert_eq!(recorder.metrics(), "");
    recorder.assert_clean();
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
