//! The static registry: lists of endpoints in this process, which the program can change.
//!
//! Follows [tower's `ServiceList`](https://docs.rs/tower/latest/tower/discover/struct.ServiceList.html), with changes and leases.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, Health};
use crate::error::RegistryError;
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::lease::{Lease, LeaseKeeper};
use crate::registry::{Registration, Registry, RegistryAnswer, Update, Updates};

const NAME: &str = "static";
/// The changes that a watch can be behind; after more it begins with the complete list again.
const BACKLOG: usize = 1024;
/// A year, because a time that is too far away cannot be represented.
const LONGEST_LEASE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Lists of endpoints in this process. Clones share the lists.
#[derive(Clone)]
pub struct StaticRegistry {
    services: Arc<Mutex<HashMap<String, Service>>>,
    instrumentation: DiscoveryInstrumentation,
}

#[derive(Debug)]
struct Service {
    /// By id.
    entries: HashMap<String, Entry>,
    changes: broadcast::Sender<Update>,
}

#[derive(Debug)]
struct Entry {
    endpoint: Endpoint,
    /// `None` for an entry that stays until the program removes it.
    lease: Option<Term>,
}

/// The lease of an entry.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// The registration that it belongs to.
    owner: u64,
    end: Instant,
}

impl Service {
    fn remove(&mut self, id: &str) {
        self.entries.remove(id);
        // Fails if there is no watch.
        let _ = self.changes.send(Update::Remove(id.to_owned()));
    }

    /// Returns the end of the lease that is over first.
    fn next_end(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| Some(entry.lease?.end)).min()
    }

    /// Removes the entries whose leases are over.
    fn end_leases(&mut self) {
        let now = Instant::now();
        let is_over = |entry: &Entry| entry.lease.is_some_and(|lease| lease.end <= now);
        let over = self.entries.iter().filter(|(_, entry)| is_over(entry)).map(|(id, _)| id.clone());
        for id in over.collect::<Vec<_>>() {
            self.remove(&id);
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self { entries: HashMap::new(), changes: broadcast::Sender::new(BACKLOG) }
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
        self.insert_entry(service, Entry { endpoint, lease: None });
    }

    /// Removes an endpoint from a service. Returns false if there is none with this id.
    pub fn remove(&self, service: &str, id: &str) -> bool {
        self.remove_if(service, id, |_| true)
    }

    fn insert_entry(&self, service: &str, entry: Entry) {
        let mut services = self.lock();
        let service = services.entry(service.to_owned()).or_default();
        let endpoint = entry.endpoint.clone();
        service.entries.insert(endpoint.id().to_owned(), entry);
        let _ = service.changes.send(Update::Insert(endpoint));
    }

    fn remove_if(&self, service: &str, id: &str, condition: impl FnOnce(&Entry) -> bool) -> bool {
        let mut services = self.lock();
        let Some(service) = services.get_mut(service) else { return false };
        let is_removed = service.entries.get(id).is_some_and(condition);
        if is_removed {
            service.remove(id);
        }
        is_removed
    }

    /// Waits for the end of a lease of the service, and removes its endpoint.
    async fn lease_ended(&self, service: &str) {
        let next = self.lock().get(service).and_then(Service::next_end);
        match next {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
        if let Some(service) = self.lock().get_mut(service) {
            service.end_leases();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Service>> {
        // No step leaves the map half changed.
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, service: &str) -> RegistryAnswer {
        let mut services = self.lock();
        let Some(service) = services.get_mut(service) else { return RegistryAnswer::default() };
        service.end_leases();
        let endpoints = service.entries.values().map(|entry| entry.endpoint.clone()).collect();
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
            let change = loop {
                // A change can be a renewal, after which another lease is over first.
                tokio::select! {
                    change = changes.recv() => break change,
                    () = registry.lease_ended(&service) => {}
                }
            };
            let update = match change {
                Ok(update) => update,
                Err(broadcast::error::RecvError::Lagged(_)) => Update::Complete(registry.answer(&service)),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((Ok(update), (changes, registry, service)))
        });
        first.chain(rest).boxed()
    }

    fn register(&self, registration: Registration) -> BoxFuture<'static, Result<Lease, RegistryError>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let registry = self.clone();
        Box::pin(async move {
            let instrumentation = registry.instrumentation.clone();
            let owner = NEXT.fetch_add(1, Ordering::Relaxed);
            let keeper = Keeper { registry, registration: registration.clone(), owner };
            keeper.extend(registration.endpoint.health());
            Ok(Lease::keep(NAME, &registration, &instrumentation, keeper))
        })
    }
}

struct Keeper {
    registry: StaticRegistry,
    registration: Registration,
    owner: u64,
}

impl Keeper {
    fn extend(&self, health: Health) {
        let Registration { service, endpoint, lease } = &self.registration;
        let lease = Some(Term { owner: self.owner, end: Instant::now() + (*lease).min(LONGEST_LEASE) });
        self.registry.insert_entry(service, Entry { endpoint: endpoint.clone().with_health(health), lease });
    }
}

impl LeaseKeeper for Keeper {
    fn renew(&self, health: Health) -> BoxFuture<'_, Result<(), RegistryError>> {
        self.extend(health);
        Box::pin(std::future::ready(Ok(())))
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
        let Registration { service, endpoint, .. } = &self.registration;
        // Another registration of the same id has a lease of its own.
        let is_own = |entry: &Entry| entry.lease.is_some_and(|lease| lease.owner == self.owner);
        self.registry.remove_if(service, endpoint.id(), is_own);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl fmt::Debug for StaticRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticRegistry").field("services", &*self.lock()).finish_non_exhaustive()
    }
}
