//! A server and a client on real sockets, each with its own recorder.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, Version};
#[cfg(feature = "axum")]
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

pub(crate) const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
pub(crate) const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// Returns a server layer that records into `recorder`.
pub(crate) fn server_layer(recorder: &Recorder) -> ServerLayer {
    recording(ServerLayer::new(), recorder)
}

/// Returns a client layer that records into `recorder`.
pub(crate) fn client_layer(recorder: &Recorder) -> ClientLayer {
    recording(ClientLayer::new(), recorder)
}

/// Serves `app` over HTTP/1.1 and HTTP/2 on an unused port.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let app = app.clone();
            tokio::spawn(async move {
                let service = TowerToHyperService::new(app);
                // The error is ignored: a client that disconnects ends the connection with one.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

pub(crate) type RequestBody = Empty<Bytes>;

/// An uninstrumented client for one version of HTTP.
pub(crate) fn client(version: Version) -> Client<HttpConnector, RequestBody> {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http()
}

/// Sends a request with an uninstrumented client over HTTP/1.1 and reads the complete response.
#[cfg(feature = "axum")]
pub(crate) async fn send(request: Request<RequestBody>) -> Response<Bytes> {
    let response = client(Version::HTTP_11).request(request).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Returns a GET request for a path of the server.
pub(crate) fn get(address: SocketAddr, path: &str) -> http::request::Builder {
    Request::get(format!("http://{address}{path}"))
}

/// Calls a handler behind the layer without a socket.
pub(crate) fn call<F, H>(
    layer: &ServerLayer,
    request: Request<RequestBody>,
    handler: H,
) -> impl Future<Output = Response<otel_http::ServerBody<axum::body::Body>>> + use<F, H>
where
    F: Future<Output = Response<axum::body::Body>>,
    H: Fn(Request<RequestBody>) -> F,
{
    let service = layer.layer(tower::service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    }));
    async { service.oneshot(request).await.unwrap() }
}

fn recording<L: LayerOptions>(layer: L, recorder: &Recorder) -> L {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let layer = layer.with_tracer_provider(recorder.tracer_provider());
    layer.with_meter_provider(recorder.meter_provider()).with_propagator(CompositePropagator::default())
}
