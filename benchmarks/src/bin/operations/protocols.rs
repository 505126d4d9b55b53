//! Requests over HTTP and gRPC, from a client to a server in the same process, on one connection.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{GrpcMethod, Status};
use tonic_prost::ProstCodec;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::run::{REQUESTS, measure};

/// Measures requests over HTTP/1.1 by a client with a pool of connections, each of which makes so many spans.
pub(crate) async fn http(name: &str, spans: u64) {
    let app = Router::new().route("/users/{id}", get(async || "Ada"));
    let app = if spans > 0 { app.layer(otel_http::ServerLayer::new()) } else { app };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let (name, uri) = (format!("http-{name}"), format!("http://{address}/users/42"));
    if spans > 0 {
        calls(&name, &uri, spans, otel_http::ClientLayer::new().layer(client)).await;
    } else {
        calls(&name, &uri, spans, client).await;
    }
}

async fn calls<S, B>(name: &str, uri: &str, spans: u64, client: S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: std::fmt::Debug, Future: Send> + Send,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send,
{
    measure(name, REQUESTS, spans, client, async |mut client: S| {
        poll_fn(|cx| client.poll_ready(cx)).await.expect("the connection is kept");
        let request = Request::get(uri).body(Empty::new());
        let response = client.call(request.expect("the parts are valid")).await.expect("the server responds");
        let body = response.into_body().collect().await.expect("the body is complete").to_bytes();
        assert_eq!(body, "Ada");
        client
    })
    .await;
}

#[derive(Clone, PartialEq, prost::Message)]
struct Hello {
    #[prost(string, tag = "1")]
    name: String,
}

/// The server, as tonic-build generates it.
#[derive(Clone)]
struct Greeter;

struct Greet;

impl tonic::server::NamedService for Greeter {
    const NAME: &'static str = "bench.Greeter";
}

impl tonic::server::UnaryService<Hello> for Greet {
    type Response = Hello;
    type Future = Ready<Result<tonic::Response<Hello>, Status>>;

    fn call(&mut self, request: tonic::Request<Hello>) -> Self::Future {
        ready(Ok(tonic::Response::new(request.into_inner())))
    }
}

impl Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<Hello, Hello>::default());
        Box::pin(async move { Ok(grpc.unary(Greet, request).await) })
    }
}

/// Measures unary calls, each of which makes so many spans.
pub(crate) async fn grpc(name: &str, spans: u64) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let name = format!("grpc-{name}");
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("the address is valid");
    if spans > 0 {
        let layer = otel_grpc::ServerLayer::new();
        let server = Server::builder().layer(layer).add_service(Greeter).serve_with_incoming(incoming);
        tokio::spawn(server);
        let layer = otel_grpc::ClientLayer::new().with_target(endpoint.uri());
        let channel = endpoint.connect().await.expect("the server listens");
        let client = tonic::client::Grpc::new(layer.layer(channel));
        unary(&name, spans, client).await;
    } else {
        tokio::spawn(Server::builder().add_service(Greeter).serve_with_incoming(incoming));
        let channel = endpoint.connect().await.expect("the server listens");
        unary(&name, spans, tonic::client::Grpc::new(channel)).await;
    }
}

async fn unary<S, B>(name: &str, spans: u64, client: tonic::client::Grpc<S>)
where
    S: tonic::client::GrpcService<Body, ResponseBody = B, Error: std::fmt::Debug, Future: Send> + Send,
    B: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Send + 'static,
{
    measure(name, REQUESTS, spans, client, async |mut client: tonic::client::Grpc<S>| {
        client.ready().await.map_err(drop).expect("the channel is open");
        let mut request = tonic::Request::new(Hello { name: "Ada".to_owned() });
        request.extensions_mut().insert(GrpcMethod::new("bench.Greeter", "Greet"));
        let path = http::uri::PathAndQuery::from_static("/bench.Greeter/Greet");
        let response = client.unary(request, path, ProstCodec::<Hello, Hello>::default()).await;
        assert_eq!(response.expect("the server responds").into_inner().name, "Ada");
        client
    })
    .await;
}
