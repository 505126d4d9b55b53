//! A service (`async_nats::service`) that knows people's addresses, and requests to it.

use async_nats::service::error;
use futures_util::StreamExt as _;
use otel_nats::Client;
use otel_nats::service::{Endpoint, Request};

use crate::Failure;
use crate::reports::Reporter;

/// The service's only endpoint.
#[derive(Debug)]
pub(crate) struct AddressBook {
    endpoint: Endpoint,
    /// Keeps the service running.
    _service: otel_nats::service::Service,
    reporter: Reporter,
}

impl AddressBook {
    pub(crate) async fn new(client: &Client, prefix: &str, reporter: Reporter) -> Result<Self, Failure> {
        let service = client.service_builder().start("people", "1.0.0").await?;
        let endpoint = service.group(format!("{prefix}people")).endpoint("address").await?;
        client.flush().await?;
        Ok(Self { endpoint, _service: service, reporter })
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        while let Some(request) = self.endpoint.next().await {
            request.process(async |request| self.answer(request).await).await?;
        }
        Ok(())
    }

    async fn answer(&self, request: &Request) -> Result<(), async_nats::PublishError> {
        let name = String::from_utf8_lossy(&request.message.payload);
        match &*name {
            "ada" => {
                self.reporter.send(format_args!("knows {name}"));
                request.respond(Ok("12 Square".into())).await
            }
            _ => {
                self.reporter.send(format_args!("does not know {name}"));
                // The code becomes the `error.type` of this service's span and of the requester's.
                request.respond(Err(error::Error { status: "no such person".to_owned(), code: 404 })).await
            }
        }
    }
}

/// Asks for the address of a person. As with async-nats, an error of the service is in the headers of the reply.
pub(crate) async fn address(client: &Client, prefix: &str, name: &'static str) -> Result<String, Failure> {
    let reply = client.request(format!("{prefix}people.address"), name.into()).await?;
    let error =
        reply.headers.as_ref().and_then(|headers| headers.get(async_nats::service::NATS_SERVICE_ERROR));
    match error {
        Some(error) => Ok(format!("error: {error}")),
        None => Ok(String::from_utf8_lossy(&reply.payload).into_owned()),
    }
}
