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
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

use crate::Failure;

/// The longest wait for the end of a span.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client whose type does not matter.
pub(crate) type Client = BoxCloneSyncService<Request<Body>, Response<Body>, Failure>;

pub(crate) struct Services<'a> {
    waterfall: &'a Waterfall,
    open_spans: OpenSpans,
}

impl<'a> Services<'a> {
    pub(crate) fn new(waterfall: &'a Waterfall) -> Self {
        Self { waterfall, open_spans: OpenSpans::new() }
    }

    /// The tracer provider of a service.
    pub(crate) fn provider(&self, name: &'static str) -> SdkTracerProvider {
        SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name(name).build())
            // The exporter comes before `open_spans`, so that a span has been exported when it counts as closed.
            .with_simple_exporter(self.waterfall.exporter())
            .with_span_processor(self.open_spans.clone())
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
    pub(crate) async fn settle(&self) -> Result<(), Failure> {
        timeout(PATIENCE, self.open_spans.none()).await.map_err(|_| "a span did not end in time")?;
        Ok(())
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Request<Body>, Failure> {
    Ok(Request::get(format!("http://{address}{path}")).body(Body::empty())?)
}
