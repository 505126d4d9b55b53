//! REST beside gRPC in one axum router on one port: each request is recorded once, in one trace.

use std::collections::HashSet;
use std::net::SocketAddr;

use axum::routing::get;
use http::Request;
use http_body_util::BodyExt;
use opentelemetry::trace::SpanKind;
use otel_testing::Recorder;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};
use tower::{Layer, ServiceExt};

use crate::echo::{EchoClient, EchoServer, UNARY, say};
use crate::layers::{headlines, http_client, http_server};
use crate::support::{attribute, client, client_layer, endpoint, listen, server_layer, spans_of};

/// Serves REST and gRPC on one port. The REST handler calls the gRPC service.
async fn serve_both(recorder: &Recorder, grpc_outside: bool) -> SocketAddr {
    let (address, incoming) = listen().await;
    let own: Channel = endpoint(address).connect_lazy();
    let own = EchoClient(client_layer(recorder).layer(own));
    let greet = move || {
        let own = own.clone();
        async move { own.unary(say("from REST")).await.unwrap().into_inner().text }
    };
    let app = Routes::new(EchoServer).into_axum_router().route("/greet/{name}", get(greet));
    let (grpc, http) = (server_layer(recorder), http_server(recorder));
    let app = if grpc_outside { app.layer(http).layer(grpc) } else { app.layer(grpc).layer(http) };
    tokio::spawn(Server::builder().serve_with_incoming(app, incoming));
    address
}

#[tokio::test]
async fn one_trace_runs_through_rest_and_grpc_on_one_port() {
    for grpc_outside in [true, false] {
        let recorder = Recorder::new();
        let address = serve_both(&recorder, grpc_outside).await;
        let channel = http_client(&recorder).layer(endpoint(address).connect_lazy());
        let request = Request::get(format!("http://{address}/greet/you")).body(Body::empty()).unwrap();
        let response = channel.oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "from REST");
        recorder.wait_for_spans(4).await;
        assert_eq!(
            headlines(&recorder),
            [
                "CLIENT GET",
                "SERVER GET /greet/{name}  ⇠ remote",
                "CLIENT test.Echo/Unary",
                "SERVER test.Echo/Unary  ⇠ remote",
            ],
            "{}",
            recorder.tree()
        );
        let traces: HashSet<_> = recorder.spans().iter().map(|span| span.span_context.trace_id()).collect();
        assert_eq!(traces.len(), 1);
        let calls = recorder.metric("rpc.server.call.duration");
        assert_eq!(
            (calls.count(), calls.clone().with("rpc.method", UNARY).count()),
            (1, 1),
            "{}",
            recorder.metrics()
        );
        // The call is a request too, under the route of tonic's router.
        let requests = recorder.metric("http.server.request.duration");
        for route in ["/greet/{name}", "/test.Echo/{*rest}"] {
            assert_eq!(requests.clone().with("http.route", route).count(), 1, "{}", recorder.metrics());
        }
        recorder.assert_clean();

        // An external gRPC call to the same port.
        let recorder = Recorder::new();
        let address = serve_both(&recorder, grpc_outside).await;
        client(&client_layer(&recorder), address).unary(say("hello")).await.unwrap();
        recorder.wait_for_spans(2).await;
        assert_eq!(recorder.metric("rpc.server.call.duration").with("rpc.method", UNARY).count(), 1);
        assert_eq!(spans_of(&recorder, SpanKind::Server).len(), 1);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn messages_are_counted_in_an_axum_router_too() {
    let recorder = Recorder::new();
    let (address, incoming) = listen().await;
    let app = Routes::new(EchoServer).into_axum_router();
    let app = app.layer(server_layer(&recorder).with_message_metrics(true));
    tokio::spawn(Server::builder().serve_with_incoming(app, incoming));
    client(&client_layer(&recorder), address).unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    for metric in ["rpc.server.requests_per_rpc", "rpc.server.responses_per_rpc"] {
        assert_eq!((recorder.metric(metric).count(), recorder.metric(metric).sum()), (1, 1.0), "{metric}");
    }
}

#[tokio::test]
async fn axum_tells_who_the_peer_is() {
    let recorder = Recorder::new();
    let app = Routes::new(EchoServer).into_axum_router().layer(server_layer(&recorder));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    EchoClient(endpoint(address).connect_lazy()).unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(1).await;
    let span = recorder.span(UNARY);
    assert_eq!(attribute(&span, "network.peer.address").unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn a_fallback_that_answers_everything_makes_no_path_a_name() {
    for content_type in ["text/html", "application/grpc"] {
        let recorder = Recorder::new();
        let app = axum::Router::new()
            .route_service("/test.Echo/{*rest}", EchoServer)
            .fallback(
                move || async move { ([("content-type", content_type)], "<html>the application</html>") },
            )
            .layer(server_layer(&recorder));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channel = endpoint(listener.local_addr().unwrap()).connect_lazy();
        tokio::spawn(async move { axum::serve(listener, app).await });
        for number in 0..5 {
            let request = Request::post(format!("/evil{number}/method{number}"));
            let request = request.header("content-type", "application/grpc").body(Body::empty()).unwrap();
            channel.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        }
        recorder.wait_for_spans(5).await;
        assert!(recorder.spans().iter().all(|span| span.name == "grpc"), "{}", recorder.tree());
        assert!(!recorder.metrics().contains("evil"), "{}", recorder.metrics());
        recorder.assert_clean();
    }
}
