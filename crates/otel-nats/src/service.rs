//! Services (`async_nats::service`): endpoints whose requests are processed in the requester's trace, and responses whose
//! error is the outcome of processing.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": an endpoint is a
//! queue subscription. The headers of an error are those of the [NATS service
//! protocol](https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md).

mod request;

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use async_nats::Error;
use async_nats::service::endpoint::{self as bare_endpoint, Stats};
use async_nats::service::{self as bare, Config, Info, ServiceExt as _};
use futures_core::Stream;
use otel_messaging::Destination;
use otel_operation::StartTime;

use crate::attributes::SubjectKind;
use crate::client::Client;

pub use crate::service::request::Request;

/// The queue group of an endpoint without another one, as async-nats has it.
const DEFAULT_QUEUE_GROUP: &str = "q";

impl Client {
    /// Adds a service, as async-nats' `ServiceExt::add_service` does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn add_service(&self, config: Config) -> Result<Service, Error> {
        let queue_group = config.queue_group.clone();
        let inner = self.inner.add_service(config).await?;
        Ok(Service::new(inner, self, queue_group))
    }

    /// Returns the builder of a service, as async-nats' `ServiceExt::service_builder` does.
    pub fn service_builder(&self) -> ServiceBuilder {
        ServiceBuilder { inner: self.inner.service_builder(), client: self.clone(), queue_group: None }
    }
}

/// async-nats' `ServiceBuilder`.
#[must_use]
pub struct ServiceBuilder {
    inner: bare::ServiceBuilder,
    client: Client,
    queue_group: Option<String>,
}

impl ServiceBuilder {
    /// Sets the description of the service.
    pub fn description<S: ToString>(mut self, description: S) -> Self {
        self.inner = self.inner.description(description);
        self
    }

    /// Sets the function that adds data to the statistics of the endpoints.
    pub fn stats_handler<F>(mut self, handler: F) -> Self
    where
        F: FnMut(String, Stats) -> serde_json::Value + Send + Sync + 'static,
    {
        self.inner = self.inner.stats_handler(handler);
        self
    }

    /// Sets the metadata of the service.
    pub fn metadata(mut self, metadata: HashMap<String, String>) -> Self {
        self.inner = self.inner.metadata(metadata);
        self
    }

    /// Sets the queue group of the endpoints. Default: `q`.
    pub fn queue_group<S: ToString>(mut self, queue_group: S) -> Self {
        let queue_group = queue_group.to_string();
        self.inner = self.inner.queue_group(&queue_group);
        self.queue_group = Some(queue_group);
        self
    }

    /// Starts the service.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn start<N: ToString, V: ToString>(self, name: N, version: V) -> Result<Service, Error> {
        let inner = self.inner.start(name, version).await?;
        Ok(Service::new(inner, &self.client, self.queue_group))
    }
}

/// async-nats' `Service`, whose endpoints return traced requests.
///
/// ```
/// use async_nats::service::error;
/// use futures_util::StreamExt;
/// use otel_nats::Client;
///
/// async fn serve(client: &Client) -> Result<(), async_nats::Error> {
///     let service = client.service_builder().start("shop", "1.0.0").await?;
///     let mut prices = service.group("prices").endpoint("books").await?;
///     while let Some(request) = prices.next().await {
///         // A `process` span in the requester's trace. An error in the response is the `error.type` of the span.
///         request
///             .process(async |request| match request.message.payload.is_empty() {
///                 false => request.respond(Ok("7".into())).await,
///                 true => request.respond(Err(error::Error { status: "no title".to_owned(), code: 400 })).await,
///             })
///             .await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Service {
    inner: bare::Service,
    scope: Scope,
}

/// The instrumentation of endpoints below a prefix.
#[derive(Clone, Debug)]
struct Scope {
    client: Client,
    prefix: Option<String>,
    queue_group: String,
}

impl Service {
    fn new(inner: bare::Service, client: &Client, queue_group: Option<String>) -> Self {
        let queue_group = queue_group.unwrap_or_else(|| DEFAULT_QUEUE_GROUP.to_owned());
        Self { inner, scope: Scope { client: client.clone(), prefix: None, queue_group } }
    }

    /// Stops this instance of the service.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn stop(self) -> Result<(), Error> {
        self.inner.stop().await
    }

    /// Sets the statistics of all endpoints to zero.
    pub async fn reset(&mut self) {
        self.inner.reset().await;
    }

    /// Returns the statistics of the endpoints.
    pub async fn stats(&self) -> HashMap<String, Stats> {
        self.inner.stats().await
    }

    /// Returns the description of this instance.
    pub async fn info(&self) -> Info {
        self.inner.info().await
    }

    /// Returns a group of endpoints with a common prefix.
    pub fn group<S: ToString>(&self, prefix: S) -> Group {
        self.group_with_queue_group(prefix, self.scope.queue_group.clone())
    }

    /// Returns a group of endpoints with a common prefix and a queue group of its own.
    pub fn group_with_queue_group<S: ToString, Z: ToString>(&self, prefix: S, queue_group: Z) -> Group {
        let (prefix, queue_group) = (prefix.to_string(), queue_group.to_string());
        let inner = self.inner.group_with_queue_group(&prefix, &queue_group);
        Group { inner, scope: Scope { client: self.scope.client.clone(), prefix: Some(prefix), queue_group } }
    }

    /// Returns the builder of an endpoint.
    pub fn endpoint_builder(&self) -> EndpointBuilder {
        EndpointBuilder { inner: self.inner.endpoint_builder(), scope: self.scope.clone() }
    }

    /// Adds an endpoint.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn endpoint<S: ToString>(&self, subject: S) -> Result<Endpoint, Error> {
        self.endpoint_builder().add(subject).await
    }
}

/// async-nats' `Group`.
pub struct Group {
    inner: bare::Group,
    scope: Scope,
}

impl Group {
    /// Returns a group below this one.
    pub fn group<S: ToString>(&self, prefix: S) -> Self {
        self.group_with_queue_group(prefix, self.scope.queue_group.clone())
    }

    /// Returns a group below this one, with a queue group of its own.
    pub fn group_with_queue_group<S: ToString, Z: ToString>(&self, prefix: S, queue_group: Z) -> Self {
        let (prefix, queue_group) = (prefix.to_string(), queue_group.to_string());
        let inner = self.inner.group_with_queue_group(&prefix, &queue_group);
        let prefix = Some(self.scope.subject(prefix));
        Self { inner, scope: Scope { client: self.scope.client.clone(), prefix, queue_group } }
    }

    /// Returns the builder of an endpoint.
    pub fn endpoint_builder(&self) -> EndpointBuilder {
        EndpointBuilder { inner: self.inner.endpoint_builder(), scope: self.scope.clone() }
    }

    /// Adds an endpoint.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn endpoint<S: ToString>(&self, subject: S) -> Result<Endpoint, Error> {
        self.endpoint_builder().add(subject).await
    }
}

impl Scope {
    /// Returns the subject that async-nats gives an endpoint or a group of this scope.
    fn subject(&self, subject: String) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}.{subject}"),
            None => subject,
        }
    }
}

/// async-nats' `EndpointBuilder`.
#[derive(Debug)]
#[must_use]
pub struct EndpointBuilder {
    inner: bare::EndpointBuilder,
    scope: Scope,
}

impl EndpointBuilder {
    /// Sets the name of the endpoint.
    pub fn name<S: ToString>(mut self, name: S) -> Self {
        self.inner = self.inner.name(name);
        self
    }

    /// Sets the metadata of the endpoint.
    pub fn metadata(mut self, metadata: HashMap<String, String>) -> Self {
        self.inner = self.inner.metadata(metadata);
        self
    }

    /// Sets the queue group of the endpoint.
    pub fn queue_group<S: ToString>(mut self, queue_group: S) -> Self {
        self.scope.queue_group = queue_group.to_string();
        self.inner = self.inner.queue_group(&self.scope.queue_group);
        self
    }

    /// Adds the endpoint for a subject, which may have wildcards.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn add<S: ToString>(self, subject: S) -> Result<Endpoint, Error> {
        let Self { inner, scope } = self;
        let subject = subject.to_string();
        let inner = inner.add(&subject).await?;
        let (destination, kind) = scope.client.nats.destination(&scope.subject(subject), &scope.queue_group);
        Ok(Endpoint { inner, client: scope.client, destination, kind, wait: None })
    }
}

/// async-nats' `Endpoint`, a stream of requests.
#[must_use = "an endpoint that is dropped answers no requests"]
pub struct Endpoint {
    inner: bare_endpoint::Endpoint,
    client: Client,
    destination: Destination,
    kind: SubjectKind,
    /// The start of the wait for the next request, if receiving is recorded as spans.
    wait: Option<StartTime>,
}

impl Endpoint {
    /// Stops the endpoint. Requests that were received stay in the stream.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn stop(&mut self) -> Result<(), std::io::Error> {
        self.inner.stop().await
    }
}

impl Stream for Endpoint {
    type Item = Request;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Request>> {
        if self.wait.is_none() {
            self.wait = self.client.nats.messaging().receive_start();
        }
        let received = ready!(Pin::new(&mut self.inner).poll_next(cx));
        let wait = self.wait.take();
        let Self { client, destination, kind, .. } = &*self;
        Poll::Ready(
            received.map(|inner| Request::received(inner, client.clone(), destination.clone(), *kind, wait)),
        )
    }
}

impl fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBuilder").field("queue_group", &self.queue_group).finish_non_exhaustive()
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("destination", &self.destination).finish_non_exhaustive()
    }
}
