//! The service over HTTP, with axum and hyper.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::get;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_discovery::{BoxError, Endpoints, HttpEndpoint};
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_waterfall::Waterfall;
use tokio::net::TcpListener;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use super::{Protocol, options};
use crate::{Failure, provider};

pub(crate) struct Http;

impl Protocol for Http {
    const NAME: &'static str = "HTTP";
    const SERVICE: &'static str = "stock";
    type Client = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

    fn serve(
        listener: TcpListener,
        waterfall: &Waterfall,
        id: &'static str,
    ) -> Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure> {
        let layer = ServerLayer::new().with_tracer_provider(&provider(waterfall, id));
        let app = Router::new().route("/items/{id}", get(move || async move { id })).layer(layer);
        Ok(async move { Ok(axum::serve(listener, app).await?) })
    }

    fn client(endpoints: &Endpoints, provider: &SdkTracerProvider) -> Self::Client {
        // A connection a request, so that one to an instance that was killed is refused.
        let hyper: Client<HttpConnector, Body> =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let balance =
            options().connect(endpoints, move |endpoint| HttpEndpoint::new(hyper.clone(), endpoint));
        let layer = ClientLayer::new().with_tracer_provider(provider);
        let client = ServiceBuilder::new().layer(layer).service(balance);
        BoxCloneSyncService::new(client.map_response(|response| response.map(Body::new)))
    }

    async fn get(client: Self::Client, item: u32) -> Result<String, Failure> {
        let request = Request::get(format!("http://stock/items/{item}")).body(Body::empty())?;
        let response = client.oneshot(request).await?;
        let body = axum::body::to_bytes(response.into_body(), 1024).await?;
        Ok(String::from_utf8(body.to_vec())?)
    }
}
