//! The lease of a registration: it is renewed until the instance deregisters or dies.
//!
//! Follows [Consul's TTL checks](https://developer.hashicorp.com/consul/docs/reference/service/health-check).

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use opentelemetry::KeyValue;
use otel_operation::ERROR_TYPE;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::attributes::{REGISTRY, SERVICE};
use crate::endpoint::Health;
use crate::error::{PANIC, RegistryError};
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::Registration;

/// The requests of a registry by which a lease is kept.
pub trait LeaseKeeper: Send + Sync + 'static {
    /// Renews the lease with the current health. A registry that has lost the registration registers again.
    fn renew(&self, health: Health) -> BoxFuture<'_, Result<(), RegistryError>>;

    /// Deregisters the instance.
    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>>;
}

/// The lease of a registration. It is renewed in the background, also after a renewal has failed.
///
/// A lease that is dropped is renewed no more, as if the process had been killed: [`deregister`](Self::deregister) ends it at once.
pub struct Lease {
    keeper: Arc<dyn LeaseKeeper>,
    health: watch::Sender<Health>,
    task: JoinHandle<()>,
}

impl Lease {
    /// Starts to renew the lease of a registration.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    pub fn keep(
        registry: &'static str,
        registration: &Registration,
        instrumentation: &DiscoveryInstrumentation,
        keeper: impl LeaseKeeper,
    ) -> Self {
        let keeper: Arc<dyn LeaseKeeper> = Arc::new(keeper);
        let (health, changes) = watch::channel(registration.endpoint.health());
        let service = KeyValue::new(SERVICE, registration.service.clone());
        let attributes = vec![service, KeyValue::new(REGISTRY, registry)];
        let every = registration.lease / 3;
        let task = renew(Arc::clone(&keeper), changes, every, instrumentation.clone(), attributes);
        Self { keeper, health, task: tokio::spawn(task) }
    }

    /// Changes the health, which the registry is sent at once.
    pub fn set_health(&self, health: Health) {
        self.health.send_replace(health);
    }

    /// Ends the registration, so that no further calls come.
    ///
    /// # Errors
    /// If the registry cannot be reached; the lease ends by itself then.
    pub async fn deregister(self) -> Result<(), RegistryError> {
        let Self { keeper, task, .. } = self;
        // Without this a renewal could register the instance again.
        task.abort();
        let _ = task.await;
        keeper.deregister().await
    }
}

async fn renew(
    keeper: Arc<dyn LeaseKeeper>,
    mut health: watch::Receiver<Health>,
    every: Duration,
    instrumentation: DiscoveryInstrumentation,
    attributes: Vec<KeyValue>,
) {
    loop {
        // A change wakes it before its time; an error means that the lease was dropped.
        if let Ok(Err(_)) = tokio::time::timeout(every, health.changed()).await {
            return;
        }
        let current = *health.borrow_and_update();
        // A keeper of the program's own that panics must not end the renewals.
        let renewal = AssertUnwindSafe(async { keeper.renew(current).await }).catch_unwind();
        let error_type = match renewal.await {
            Ok(result) => result.err().map(|error| error.error_type()),
            Err(_) => Some(PANIC),
        };
        if let Some(instruments) = instrumentation.instruments() {
            let mut attributes = attributes.clone();
            attributes.extend(error_type.map(|error_type| KeyValue::new(ERROR_TYPE, error_type)));
            instruments.lease_renewals.add(1, &attributes);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("health", &*self.health.borrow()).finish_non_exhaustive()
    }
}
