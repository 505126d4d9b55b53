//! The calls that the suite asks for, and the two clients that make them.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use otel_http::{ClientLayer, ClientService};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde::Deserialize;
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _};

/// A call: a POST to `url` with `arguments` as its JSON body.
#[derive(Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) url: String,
    arguments: Value,
}

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("invalid request: {0}")]
    Request(#[from] axum::http::Error),
    #[error("hyper: {0}")]
    Hyper(#[from] hyper_util::client::legacy::Error),
    #[error("response body: {0}")]
    Body(String),
    #[error("reqwest: {0}")]
    Reqwest(#[from] reqwest_middleware::Error),
}

/// hyper-util's client inside the layer.
#[derive(Clone, Debug)]
pub(crate) struct HyperClient(ClientService<Client<HttpConnector, Full<Bytes>>>);

impl HyperClient {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self(ClientLayer::new().layer(client))
    }

    pub(crate) async fn send(&self, call: &Call) -> Result<(), CallError> {
        let request = axum::http::Request::post(&call.url)
            .header("content-type", "application/json")
            .body(Full::from(call.arguments.to_string()))?;
        let response = self.0.clone().oneshot(request).await?;
        response.into_body().collect().await.map_err(|error| CallError::Body(error.to_string()))?;
        Ok(())
    }
}

/// reqwest with the layer as a middleware.
#[derive(Clone, Debug)]
pub(crate) struct ReqwestClient(ClientWithMiddleware);

impl ReqwestClient {
    pub(crate) fn new() -> Self {
        Self(ClientBuilder::new(reqwest::Client::new()).with(ClientLayer::new()).build())
    }

    pub(crate) async fn send(&self, call: &Call) -> Result<(), CallError> {
        let response = self.0.post(&call.url).json(&call.arguments).send().await?;
        response.bytes().await.map_err(|error| CallError::Body(error.to_string()))?;
        Ok(())
    }
}
