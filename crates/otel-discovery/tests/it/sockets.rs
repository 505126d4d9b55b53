//! HTTP and gRPC endpoints on sockets, and tower's own balancer beside this crate's.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::http::HeaderMap;
use axum::routing::get;
use http::uri::Scheme;
use http::{Request, Response};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::SpanKind;
use otel_discovery::{BalanceOptions, Ejection, Endpoint, HttpEndpoint, StaticRegistry};
use otel_http::{LayerOptions, ServerLayer};
use otel_testing::Recorder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::balance::p2c::Balance as TowerBalance;
use tower::load::{CompleteOnResponse, PendingRequestsDiscover};
use tower::{Layer, ServiceExt};

use crate::support::{attribute, chosen, client_layer, endpoint, error_type, get as request, watch};

async fn serve(recorder: &Recorder) -> (SocketAddr, JoinHandle<()>) {
    serve_at(recorder, "127.0.0.1:0".parse().unwrap()).await
}

async fn serve_at(recorder: &Recorder, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = async |headers: HeaderMap, _: AxumRequest| headers["host"].to_str().unwrap().to_owned();
    let layer = ServerLayer::new().with_tracer_provider(recorder.tracer_provider());
    let app = Router::new().route("/items/{id}", get(host));
    let app = app.layer(layer.with_meter_provider(recorder.meter_provider()));
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

fn at(id: &str, address: SocketAddr) -> Endpoint {
    Endpoint::parse(&address.to_string()).unwrap().with_id(id).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_endpoints_one_of_which_dies_and_returns() {
    let recorder = Recorder::new();
    let ((first, _server), (second, other)) = (serve(&recorder).await, serve(&recorder).await);
    let registry = StaticRegistry::new().with_service("stock", [at("a", first), at("b", second)]);
    let endpoints = watch(&recorder, registry);
    let mut hyper = HyperClient::builder(TokioExecutor::new());
    // A connection a request, so that a server that is gone refuses it.
    let hyper: HyperClient<HttpConnector, String> = hyper.pool_max_idle_per_host(0).build_http();
    let ejection = Ejection::new()
        .with_failures(1)
        .with_time(std::time::Duration::from_millis(50), std::time::Duration::from_millis(50));
    let options = BalanceOptions::new().with_ejection(ejection);
    let balance = options.connect(&endpoints, move |one| HttpEndpoint::new(hyper.clone(), one));
    let client = client_layer(&recorder).layer(balance);
    let call = async || client.clone().oneshot(request()).await.map(|response| response.status().as_u16());
    for _ in 0..4 {
        assert_eq!(call().await.unwrap(), 200);
    }
    other.abort();
    let _ = other.await;
    let mut failed = 0;
    for _ in 0..10 {
        failed += u32::from(call().await.is_err());
    }
    assert!((1..=5).contains(&failed), "{failed}");
    let (_, again) = serve_at(&recorder, second).await;
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    let before = recorder.spans().iter().filter(|span| span.span_kind == SpanKind::Client).count();
    for _ in 0..4 {
        call().await.unwrap();
    }
    again.abort();

    recorder.assert_clean();
    let mut clients = recorder.spans();
    clients.retain(|span| span.span_kind == SpanKind::Client);
    assert_eq!(clients.len(), 18, "one a call: {}", recorder.tree());
    assert_eq!(recorder.metric("http.client.request.duration").count(), 18);
    assert_eq!(recorder.metric("discovery.picks").sum(), 18.0);
    assert_eq!(chosen(&clients[before..]).iter().filter(|id| *id == "b").count(), 2, "it is back");
    let refused: Vec<_> = clients.iter().filter(|span| error_type(span).is_some()).collect();
    assert_eq!(refused.len(), failed as usize);
    for span in refused {
        assert_eq!(attribute(span, "network.peer.port").unwrap().to_string(), second.port().to_string());
        assert_eq!(error_type(span).as_deref(), Some("connection_refused"));
        assert_eq!(span.events.iter().filter(|event| event.name == "discovery.ejection").count(), 1);
    }
    assert_eq!(recorder.metric("discovery.ejections").sum(), f64::from(failed), "metrics agree with spans");
}

#[tokio::test]
async fn the_name_of_the_service_is_the_host() {
    let recorder = Recorder::new();
    let (address, _server) = serve(&recorder).await;
    let hyper: HyperClient<HttpConnector, String> = HyperClient::builder(TokioExecutor::new()).build_http();
    let client = HttpEndpoint::new(hyper, &at("a", address));
    let host = async |request| {
        let response: Response<_> = client.clone().oneshot(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    };
    assert_eq!(host(request()).await, "stock.internal");
    let given = Request::get("/items/1").header("host", "given").body(String::new()).unwrap();
    assert_eq!(host(given).await, "given");
    let user = Request::get("http://user:secret@stock:81/items/1").body(String::new()).unwrap();
    assert_eq!(host(user).await, "stock:81");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_endpoints() {
    let recorder = Recorder::new();
    let mut members = Vec::new();
    for id in ["a", "b"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        members.push(at(id, listener.local_addr().unwrap()));
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().add_service(health);
        tokio::spawn(server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));
    }
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    members.push(at("gone", unused));
    let endpoints = watch(&recorder, StaticRegistry::new().with_service("stock", members));
    let options = BalanceOptions::new().with_ejection(Ejection::new().with_failures(1));
    let connect = |one: &Endpoint| Channel::builder(one.uri(Scheme::HTTP)).connect_lazy();
    let layer = otel_grpc::ClientLayer::new().with_tracer_provider(recorder.tracer_provider());
    let layer = layer.with_meter_provider(recorder.meter_provider());
    let client = HealthClient::new(layer.layer(options.connect(&endpoints, connect)));
    let mut results = Vec::new();
    for _ in 0..5 {
        let result = client.clone().check(HealthCheckRequest::default()).await;
        results.push(result.map(|_| ()).map_err(|status| status.code()));
    }
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, 1, "the one that is gone is ejected: {results:?}");
    recorder.assert_clean();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 5, "one span a call: {}", recorder.tree());
    assert_eq!(chosen(&spans), ["a", "b", "gone", "b", "a"]);
    assert_eq!(attribute(&spans[2], "network.peer.port").unwrap().to_string(), unused.port().to_string());
    assert_eq!(recorder.metric("discovery.picks").sum(), 5.0);
}

/// The comparison of the README: the endpoints suit tower's balancer, which records none of them.
#[tokio::test]
async fn towers_balancer_takes_the_endpoints_and_records_no_choice() {
    let recorder = Recorder::new();
    let registry = StaticRegistry::new().with_service("stock", [endpoint("a", 1), endpoint("b", 2)]);
    let endpoints = watch(&recorder, registry.clone());
    let discover = endpoints.discover(|one| {
        let id = one.id().to_owned();
        tower::service_fn(move |_: Request<String>| {
            std::future::ready(Ok::<_, Infallible>(Response::new(id.clone())))
        })
    });
    let discover = PendingRequestsDiscover::new(discover, CompleteOnResponse::default());
    let mut balance = client_layer(&recorder).layer(TowerBalance::new(discover));
    let mut ids = Vec::new();
    for call in 0..40 {
        if call == 20 {
            registry.remove("stock", "a");
            registry.insert("stock", endpoint("c", 3));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let response = ServiceExt::<Request<String>>::ready(&mut balance).await.unwrap();
        let body = tower::Service::call(response, request()).await.unwrap().into_body();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        ids.push(String::from_utf8(body.to_vec()).unwrap());
    }
    let has = |ids: &[String], id: &str| ids.iter().any(|one| one == id);
    assert!(has(&ids[..20], "a") && has(&ids[..20], "b") && has(&ids[20..], "c") && !has(&ids[20..], "a"));
    let spans = recorder.spans();
    assert_eq!((spans.len(), chosen(&spans).len()), (40, 0));
    assert!(spans.iter().all(|span| attribute(span, "network.peer.address").is_none()));
}

/// The comparison of the README: tonic's balancer spreads the calls, and their spans have no endpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonics_balancer_records_no_choice() {
    let recorder = Recorder::new();
    let (channel, changes) = Channel::balance_channel(8);
    for id in ["a", "b"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = at(id, listener.local_addr().unwrap());
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().add_service(health);
        tokio::spawn(server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));
        let insert = tonic::transport::channel::Change::Insert(id, Channel::builder(one.uri(Scheme::HTTP)));
        changes.send(insert).await.unwrap();
    }
    let layer = otel_grpc::ClientLayer::new().with_tracer_provider(recorder.tracer_provider());
    let client = HealthClient::new(layer.layer(channel));
    for _ in 0..8 {
        client.clone().check(HealthCheckRequest::default()).await.unwrap();
    }
    let spans = recorder.spans();
    assert_eq!(spans.len(), 8);
    assert!(
        spans.iter().all(|span| attribute(span, "network.peer.address").is_none()),
        "{}",
        recorder.tree()
    );
}
