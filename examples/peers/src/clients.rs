//! Our clients inside their layers, and the calls that ask the peer to call one of our servers.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioExecutor;
use otel_http::ClientLayer;
use reqwest_middleware::ClientBuilder;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer as _, ServiceExt as _};

use crate::peer::Peer;
use crate::servers::Servers;

/// A client library.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Hyper,
    Reqwest,
    Tonic,
    Nats,
    Amqp,
}

/// The clients that can call the peer.
pub(crate) fn of(peer: &Peer) -> impl Iterator<Item = Client> {
    let http = [Client::Hyper, Client::Reqwest].into_iter();
    let http = http.chain(peer.grpc().map(|_| Client::Tonic));
    http.chain(peer.nats().map(|_| Client::Nats)).chain(peer.amqp().map(|_| Client::Amqp))
}

impl Client {
    /// Calls the peer, which calls `name` at our server of the same protocol. Returns true for a success and false for
    /// the failure that the peer makes of a failure of ours.
    pub(crate) async fn call(self, peer: &Peer, servers: &Servers, name: &str) -> Result<bool> {
        let url = format!("{}/relay?to=http://{}/{name}", peer.http(), servers.http);
        let status = match self {
            Self::Nats => {
                let (ours, peer) = servers.nats.as_ref().zip(peer.nats()).context("NATS_URL is not set")?;
                return ours.call(peer, name).await;
            }
            Self::Amqp => {
                let url = "RABBITMQ_URL is not set";
                let (ours, peer) = servers.amqp.as_ref().zip(peer.amqp()).context(url)?;
                return ours.call(peer, name).await;
            }
            Self::Hyper => hyper(&url).await?,
            Self::Reqwest => reqwest(&url).await?,
            Self::Tonic => {
                let peer = peer.grpc().context("the peer has no gRPC server")?;
                return tonic(peer, format!("{}/{name}", servers.grpc)).await;
            }
        };
        match status.as_u16() {
            200 => Ok(true),
            502 => Ok(false),
            _ => anyhow::bail!("the peer responded with {status} to {url}"),
        }
    }
}

async fn hyper(url: &str) -> Result<http::StatusCode> {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::get(url).body(Empty::<Bytes>::new())?;
    let response = ClientLayer::new().layer(client).oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await.map_err(|error| anyhow::anyhow!("hyper: {error}"))?;
    Ok(status)
}

async fn reqwest(url: &str) -> Result<http::StatusCode> {
    let client = ClientBuilder::new(reqwest::Client::new()).with(ClientLayer::new()).build();
    let response = client.get(url).send().await?;
    let status = response.status();
    response.bytes().await?;
    Ok(status)
}

/// The name of the service in the health check says whom the peer is to call.
async fn tonic(peer: &str, service: String) -> Result<bool> {
    let endpoint = Endpoint::from_shared(peer.to_owned())?;
    let layer = otel_grpc::ClientLayer::new().with_target(endpoint.uri());
    let mut client = HealthClient::new(layer.layer(endpoint.connect().await?));
    match client.check(HealthCheckRequest { service }).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::Internal => Ok(false),
        Err(status) => Err(status).context("the peer's response is neither a success nor INTERNAL"),
    }
}
