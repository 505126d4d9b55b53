//! The client of the accounts service: hyper-util's client with one layer around it.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use otel_http::{ClientLayer, ClientService, UrlTemplate};
use tower::{Layer, ServiceExt};

use crate::accounts::{Account, NewAccount};

/// Calls the accounts service. Clones share their connections.
#[derive(Clone)]
pub(crate) struct AccountsClient {
    base: String,
    http: ClientService<Client<HttpConnector, Full<Bytes>>>,
}

/// The error of a call to the accounts service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountsError {
    #[error("accounts service unreachable")]
    Unreachable(#[from] legacy::Error),
    #[error("accounts service returned status {0}")]
    Status(StatusCode),
    #[error("invalid response from the accounts service")]
    Response(#[source] axum::BoxError),
}

impl AccountsClient {
    pub(crate) fn new(address: SocketAddr, layer: &ClientLayer) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { base: format!("http://{address}"), http: layer.layer(http) }
    }

    pub(crate) async fn open(&self, owner: u64) -> Result<Account, AccountsError> {
        let body = serde_json::to_vec(&NewAccount { owner }).map_err(invalid_response)?;
        read(self.send(Method::POST, "/accounts", None, body).await?).await
    }

    pub(crate) async fn find(&self, owner: u64) -> Result<Option<Account>, AccountsError> {
        let response = self.send(Method::GET, "/accounts/{owner}", Some(owner), Vec::new()).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(response).await.map(Some)
    }

    /// Closes the account; succeeds if it does not exist.
    pub(crate) async fn close(&self, owner: u64) -> Result<(), AccountsError> {
        let response = self.send(Method::DELETE, "/accounts/{owner}", Some(owner), Vec::new()).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        success(response).map(drop)
    }

    /// Returns the statement as a stream. Dropping the body closes the connection, which stops the accounts service.
    pub(crate) async fn statement(&self, owner: u64) -> Result<Body, AccountsError> {
        let response = self.send(Method::GET, "/accounts/{owner}/statement", Some(owner), Vec::new()).await?;
        success(response).map(Response::into_body)
    }

    /// Sends a request. `template` is used for the span name and `url.template`; the URL contains the owner's ID.
    async fn send(
        &self,
        method: Method,
        template: &'static str,
        owner: Option<u64>,
        body: Vec<u8>,
    ) -> Result<Response<Body>, AccountsError> {
        let path = match owner {
            Some(owner) => template.replace("{owner}", &owner.to_string()),
            None => template.to_owned(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .extension(UrlTemplate(template.into()))
            .body(Full::from(body))
            .map_err(invalid_response)?;
        Ok(self.http.clone().oneshot(request).await?.map(Body::new))
    }
}

async fn read(response: Response<Body>) -> Result<Account, AccountsError> {
    let body = success(response)?.into_body().collect().await.map_err(invalid_response)?.to_bytes();
    serde_json::from_slice(&body).map_err(invalid_response)
}

fn success(response: Response<Body>) -> Result<Response<Body>, AccountsError> {
    if response.status().is_success() { Ok(response) } else { Err(AccountsError::Status(response.status())) }
}

fn invalid_response(error: impl Into<axum::BoxError>) -> AccountsError {
    AccountsError::Response(error.into())
}
