//! Servers and clients of several services in one process, each with a tracer provider of its own name.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_waterfall::Waterfall;
use tokio::net::TcpListener;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

use crate::Failure;

/// A client whose type does not matter.
pub(crate) type Client = BoxCloneSyncService<Request<Body>, Response<Body>, Failure>;

pub(crate) struct Services<'a> {
    waterfall: &'a Waterfall,
}

impl<'a> Services<'a> {
    pub(crate) fn new(waterfall: &'a Waterfall) -> Self {
        Self { waterfall }
    }

    /// The tracer provider of a service.
    pub(crate) fn provider(&self, name: &'static str) -> SdkTracerProvider {
        SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name(name).build())
            .with_simple_exporter(self.waterfall.exporter())
            .build()
    }

    /// Serves `app`, recorded under the name of the service, on an unused port.
    pub(crate) async fn serve(&self, name: &'static str, app: Router) -> Result<SocketAddr, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = app.layer(ServerLayer::new().with_tracer_provider(&self.provider(name)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(address)
    }

    /// An instrumented client of a service. Layers around it are the business of the patterns.
    pub(crate) fn client(
        &self,
        name: &'static str,
    ) -> impl Service<
        Request<Body>,
        Response = Response<Body>,
        Error = hyper_util::client::legacy::Error,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static {
        let hyper: HyperClient<_, Body> =
            HyperClient::builder(TokioExecutor::new()).build(HttpConnector::new());
        let client = ClientLayer::new().with_tracer_provider(&self.provider(name)).layer(hyper);
        client.map_response(|response| response.map(Body::new))
    }

    /// Waits until the servers have ended their spans, which is after their callers have the response.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Request<Body>, Failure> {
    Ok(Request::get(format!("http://{address}{path}")).body(Body::empty())?)
}
