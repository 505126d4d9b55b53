//! The static registry: lists of endpoints in this process, which the program can change.
//!
//! Follows [tower's `ServiceList`](https://docs.rs/tower/latest/tower/discover/struct.ServiceList.html), with changes and leases.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use crate::endpoint::{Endpoint, Health};
use crate::error::RegistryError;
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::lease::{Lease, LeaseKeeper};
use crate::registry::{Registration, Registry, RegistryAnswer, Update, Updates};

const NAME: &str = "static";
/// The changes that a watch can be behind; after more it begins with the complete list again.
const BACKLOG: usize = 1024;
/// The owner of entries without a lease.
const PROGRAM: u64 = 0;

/// Lists of endpoints in this process. Clones share the lists.
#[derive(Clone)]
pub struct StaticRegistry {
    services: Arc<Mutex<HashMap<String, Service>>>,
    instrumentation: DiscoveryInstrumentation,
}

#[derive(Debug)]
struct Service {
    /// By id, each with the lease that it belongs to.
    endpoints: HashMap<String, (Endpoint, u64)>,
    changes: broadcast::Sender<Update>,
}

impl Default for Service {
    fn default() -> Self {
        Self { endpoints: HashMap::new(), changes: broadcast::Sender::new(BACKLOG) }
    }
}

impl Default for StaticRegistry {
    fn default() -> Self {
        Self { services: Arc::default(), instrumentation: DiscoveryInstrumentation::global().clone() }
    }
}

impl StaticRegistry {
    /// Creates an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the endpoints of a service.
    #[must_use]
    pub fn with_service(self, service: &str, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        endpoints.into_iter().for_each(|endpoint| self.insert(service, endpoint));
        self
    }

    /// Uses this instrumentation instead of the global one, for the renewals of leases.
    #[must_use]
    pub fn with_instrumentation(mut self, instrumentation: &DiscoveryInstrumentation) -> Self {
        self.instrumentation = instrumentation.clone();
        self
    }

    /// Adds an endpoint to a service, or replaces the one with its id. It has no lease.
    pub fn insert(&self, service: &str, endpoint: Endpoint) {
        self.insert_owned(service, endpoint, PROGRAM);
    }

    /// Removes an endpoint from a service. Returns false if there is none with this id.
    pub fn remove(&self, service: &str, id: &str) -> bool {
        self.remove_if(service, id, |_| true)
    }

    fn insert_owned(&self, service: &str, endpoint: Endpoint, owner: u64) {
        let mut services = self.lock();
        let service = services.entry(service.to_owned()).or_default();
        service.endpoints.insert(endpoint.id().to_owned(), (endpoint.clone(), owner));
        // Fails if there is no watch.
        let _ = service.changes.send(Update::Insert(endpoint));
    }

    fn remove_if(&self, service: &str, id: &str, condition: impl FnOnce(u64) -> bool) -> bool {
        let mut services = self.lock();
        let Some(service) = services.get_mut(service) else { return false };
        if !service.endpoints.get(id).is_some_and(|(_, owner)| condition(*owner)) {
            return false;
        }
        service.endpoints.remove(id);
        let _ = service.changes.send(Update::Remove(id.to_owned()));
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Service>> {
        // No step leaves the map half changed.
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, service: &str) -> RegistryAnswer {
        let services = self.lock();
        let entries = services.get(service).map(|one| one.endpoints.values());
        let endpoints = entries.into_iter().flatten().map(|(endpoint, _)| endpoint.clone()).collect();
        RegistryAnswer { endpoints, rejected: 0 }
    }
}

impl Registry for StaticRegistry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        Box::pin(std::future::ready(Ok(self.answer(service))))
    }

    fn watch(&self, service: &str) -> Updates {
        let changes = self.lock().entry(service.to_owned()).or_default().changes.subscribe();
        // Read after the subscription: a change in between comes twice, and none is lost.
        let first = stream::once(std::future::ready(Ok(Update::Complete(self.answer(service)))));
        let state = (changes, self.clone(), service.to_owned());
        let rest = stream::unfold(state, |(mut changes, registry, service)| async move {
            let update = match changes.recv().await {
                Ok(update) => update,
                Err(broadcast::error::RecvError::Lagged(_)) => Update::Complete(registry.answer(&service)),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((Ok(update), (changes, registry, service)))
        });
        first.chain(rest).boxed()
    }

    fn register(&self, registration: Registration) -> BoxFuture<'static, Result<Lease, RegistryError>> {
        static NEXT: AtomicU64 = AtomicU64::new(PROGRAM + 1);
        let registry = self.clone();
        Box::pin(async move {
            let instrumentation = registry.instrumentation.clone();
            let owner = NEXT.fetch_add(1, Ordering::Relaxed);
            let keeper =
                Keeper { registry, registration: registration.clone(), owner, end: Mutex::default() };
            keeper.extend(registration.endpoint.health());
            Ok(Lease::keep(NAME, &registration, &instrumentation, keeper))
        })
    }
}

struct Keeper {
    registry: StaticRegistry,
    registration: Registration,
    owner: u64,
    /// The task that removes the endpoint at the end of its lease. It outlives a lease that is dropped.
    end: Mutex<Option<AbortHandle>>,
}

impl Keeper {
    fn extend(&self, health: Health) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = end.take() {
            before.abort();
        }
        let Registration { service, endpoint, lease } = self.registration.clone();
        let (registry, id, owner) = (self.registry.clone(), endpoint.id().to_owned(), self.owner);
        self.registry.insert_owned(&service, endpoint.with_health(health), owner);
        let task = tokio::spawn(async move {
            tokio::time::sleep(lease).await;
            // Another registration of the same id has a lease of its own.
            registry.remove_if(&service, &id, |current| current == owner);
        });
        *end = Some(task.abort_handle());
    }
}

impl LeaseKeeper for Keeper {
    fn renew(&self, health: Health) -> BoxFuture<'_, Result<(), RegistryError>> {
        self.extend(health);
        Box::pin(std::future::ready(Ok(())))
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
        let Registration { service, endpoint, .. } = &self.registration;
        self.registry.remove_if(service, endpoint.id(), |current| current == self.owner);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl fmt::Debug for StaticRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticRegistry").field("services", &*self.lock()).finish_non_exhaustive()
    }
}
