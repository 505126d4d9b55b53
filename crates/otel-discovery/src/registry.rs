//! The contract with a registry: answers, updates, registrations.
//!
//! Follows [tower's `Discover`](https://docs.rs/tower/latest/tower/discover/trait.Discover.html) in that changes come as a stream.

#[cfg(feature = "consul")]
pub(crate) mod consul;
#[cfg(feature = "dns")]
pub(crate) mod dns;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
#[cfg(feature = "file")]
pub(crate) mod file;
pub(crate) mod lease;
#[cfg(any(feature = "consul", feature = "dns", feature = "etcd"))]
mod lookup;
pub(crate) mod memory;

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;

use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::registry::lease::Lease;

/// The complete answer of a registry about one service.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RegistryAnswer {
    /// The endpoints. Of several with the same id the last one counts.
    pub endpoints: Vec<Endpoint>,
    /// The number of registrations that were left out because they are no valid endpoint.
    pub rejected: u64,
}

impl RegistryAnswer {
    /// Creates an answer; errors among the endpoints are counted as rejected.
    pub fn collect<E>(endpoints: impl IntoIterator<Item = Result<Endpoint, E>>) -> Self {
        let mut answer = Self::default();
        for endpoint in endpoints {
            match endpoint {
                Ok(endpoint) => answer.endpoints.push(endpoint),
                Err(_) => answer.rejected += 1,
            }
        }
        answer
    }
}

/// A change of the endpoints of a service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Update {
    /// The complete endpoints, also if they have not changed.
    Complete(RegistryAnswer),
    /// An endpoint that is new, or replaces the one with its id.
    Insert(Endpoint),
    /// The id of an endpoint that has gone.
    Remove(String),
    /// The id of an endpoint that has gone, because its registration is no valid endpoint any more. It is counted.
    Invalid(String),
}

/// The updates of a watch. It begins with [`Update::Complete`]. After an error it ends, and is begun again.
pub type Updates = BoxStream<'static, Result<Update, RegistryError>>;

/// A source of the endpoints of services.
pub trait Registry: Send + Sync + 'static {
    /// Returns the kind of the registry, such as `consul`: an attribute of spans and metrics.
    fn name(&self) -> &'static str;

    /// Asks for the endpoints of a service now.
    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>>;

    /// Watches the endpoints of a service. [`Endpoints`](crate::Endpoints) does so with retries.
    fn watch(&self, service: &str) -> Updates;

    /// Registers an instance until its [`Lease`] ends. Default: not supported.
    fn register(&self, registration: Registration) -> BoxFuture<'static, Result<Lease, RegistryError>> {
        let error = RegistryError::unsupported(self.name(), "register", &registration.service);
        Box::pin(std::future::ready(Err(error)))
    }
}

/// For a registry that is chosen when the program starts.
impl<R: Registry + ?Sized> Registry for Arc<R> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        (**self).resolve(service)
    }

    fn watch(&self, service: &str) -> Updates {
        (**self).watch(service)
    }

    fn register(&self, registration: Registration) -> BoxFuture<'static, Result<Lease, RegistryError>> {
        (**self).register(registration)
    }
}

/// A registration of an instance of a service.
#[derive(Clone, Debug)]
pub struct Registration {
    pub(crate) service: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) lease: Duration,
}

impl Registration {
    /// Creates a registration with a lease of 15 s. The endpoint has the id, the health, the weight and the metadata.
    #[must_use]
    pub fn new(service: impl Into<String>, endpoint: Endpoint) -> Self {
        Self { service: service.into(), endpoint, lease: Duration::from_secs(15) }
    }

    /// Sets the time after which an instance that was killed is no longer known. It is renewed after each third of it.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(1));
        self
    }

    /// Returns the name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the lease.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }
}
