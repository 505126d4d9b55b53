//! The static registry: lists of endpoints in this process, which the program can change.
//!
//! Follows [tower's `ServiceList`](https://docs.rs/tower/latest/tower/discover/struct.ServiceList.html), with changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast;

use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::registry::{Registry, RegistryAnswer, Update, Updates};

const NAME: &str = "static";
/// The changes that a watch can be behind; after more it begins with the complete list again.
const BACKLOG: usize = 1024;

/// Lists of endpoints in this process. Clones share the lists.
#[derive(Clone, Debug, Default)]
pub struct StaticRegistry(Arc<Mutex<HashMap<String, Service>>>);

#[derive(Debug)]
struct Service {
    endpoints: HashMap<String, Endpoint>,
    changes: broadcast::Sender<Update>,
}

impl Default for Service {
    fn default() -> Self {
        Self { endpoints: HashMap::new(), changes: broadcast::Sender::new(BACKLOG) }
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

    /// Adds an endpoint to a service, or replaces the one with its id.
    pub fn insert(&self, service: &str, endpoint: Endpoint) {
        let mut services = self.lock();
        let service = services.entry(service.to_owned()).or_default();
        service.endpoints.insert(endpoint.id().to_owned(), endpoint.clone());
        // Fails if there is no watch.
        let _ = service.changes.send(Update::Insert(endpoint));
    }

    /// Removes an endpoint from a service. Returns false if there is none with this id.
    pub fn remove(&self, service: &str, id: &str) -> bool {
        let mut services = self.lock();
        let Some(service) = services.get_mut(service) else { return false };
        let is_known = service.endpoints.remove(id).is_some();
        let _ = service.changes.send(Update::Remove(id.to_owned()));
        is_known
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Service>> {
        // No step leaves the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, service: &str) -> RegistryAnswer {
        let services = self.lock();
        let endpoints = services.get(service).map(|one| one.endpoints.values().cloned().collect());
        RegistryAnswer { endpoints: endpoints.unwrap_or_default(), rejected: 0 }
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
}
