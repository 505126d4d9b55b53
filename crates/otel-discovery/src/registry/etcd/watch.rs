//! The updates of a service: a read of its keys, then the changes from the revision of that read.
//!
//! Follows [etcd's watch streams](https://etcd.io/docs/v3.4/learning/api/#watch-streams) and [client
//! design](https://etcd.io/docs/v3.4/learning/design-client/): a watch that broke continues from the last revision that it has seen.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use futures_util::{StreamExt, stream};
use tonic::Streaming;

use super::client::{self, Purpose};
use super::messages::{Event, RangeResponse, WatchCreateRequest, WatchRequest, WatchResponse};
use super::{EtcdRegistry, NAME, names, value};
use crate::endpoint::Endpoint;
use crate::endpoint_set::MOST_ENDPOINTS;
use crate::error::RegistryError;
use crate::registry::lookup::{self, Response};
use crate::registry::{RegistryAnswer, Update, Updates};

/// The endpoints of a service at a revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    endpoints: BTreeMap<String, Endpoint>,
    revision: i64,
    cluster: u64,
}

impl Known {
    /// Reads a response, and counts the keys that are no endpoint. A key begins with bytes that are skipped.
    pub(super) fn read(response: RangeResponse, skipped: usize) -> (Self, u64) {
        let header = response.header.unwrap_or_default();
        let mut known = Self { revision: header.revision, cluster: header.cluster_id, ..Self::default() };
        let mut rejected = 0;
        for entry in response.kvs {
            match parse(&entry.key, skipped, &entry.value) {
                (id, Some(endpoint)) => known.insert(id, endpoint),
                _ => rejected += 1,
            }
        }
        (known, rejected)
    }

    pub(super) fn answer(&self, rejected: u64) -> RegistryAnswer {
        RegistryAnswer { endpoints: self.endpoints.values().cloned().collect(), rejected }
    }

    fn insert(&mut self, id: String, endpoint: Endpoint) {
        if self.endpoints.len() < MOST_ENDPOINTS || self.endpoints.contains_key(&id) {
            self.endpoints.insert(id, endpoint);
        }
    }

    /// Applies the events of a response, and returns the updates that they are.
    fn apply(&mut self, response: WatchResponse, skipped: usize) -> Vec<Update> {
        let was_empty = self.endpoints.is_empty();
        let (mut updates, mut rejected) = (Vec::new(), 0);
        if response.events.is_empty() {
            // It shows progress: all changes up to this revision were sent.
            self.revision = self.revision.max(response.header.unwrap_or_default().revision);
        }
        for event in response.events {
            let Some(entry) = event.kv else { continue };
            self.revision = self.revision.max(entry.mod_revision);
            let (id, endpoint) = match event.kind {
                Event::DELETE => (id(&entry.key, skipped), None),
                _ => parse(&entry.key, skipped, &entry.value),
            };
            match endpoint {
                Some(endpoint) => {
                    self.insert(id, endpoint.clone());
                    updates.push(Update::Insert(endpoint));
                }
                None if event.kind == Event::DELETE => {
                    self.endpoints.remove(&id);
                    updates.push(Update::Remove(id));
                }
                None => {
                    self.endpoints.remove(&id);
                    rejected += 1;
                    updates.push(Update::Invalid(id));
                }
            }
        }
        // An end of all is the matter of an option, and a service that comes back after it begins anew.
        if was_empty != self.endpoints.is_empty() {
            return vec![Update::Complete(self.answer(rejected))];
        }
        updates
    }
}

/// Returns the id of a key. One that is no text has an id that no endpoint has.
fn id(key: &[u8], skipped: usize) -> String {
    let id = key.get(skipped..).and_then(|id| std::str::from_utf8(id).ok());
    id.unwrap_or_default().to_owned()
}

fn parse(key: &[u8], skipped: usize, value: &[u8]) -> (String, Option<Endpoint>) {
    let id = id(key, skipped);
    let endpoint = value::parse(&id, value).ok();
    (id, endpoint)
}

/// A watch of a service.
struct Watch {
    registry: EtcdRegistry,
    service: String,
    open: Option<Open>,
}

struct Open {
    known: Known,
    responses: Streaming<WatchResponse>,
}

pub(super) fn updates(registry: EtcdRegistry, service: String) -> Updates {
    let watch = Watch { registry, service, open: None };
    let batches = stream::try_unfold(watch, |watch| async { watch.next().await.map(Some) });
    let updates = batches.map(|batch| match batch {
        Ok(updates) => stream::iter(updates).map(Ok).left_stream(),
        Err(error) => stream::once(std::future::ready(Err(error))).right_stream(),
    });
    updates.flatten().boxed()
}

impl Watch {
    async fn next(mut self) -> Result<(Vec<Update>, Self), RegistryError> {
        let skipped = self.registry.range(&self.service).0.len();
        let Some(Open { mut known, mut responses }) = self.open.take() else {
            let Started { open, rejected } = self.start().await?;
            let answer = open.known.answer(rejected);
            self.open = Some(open);
            return Ok((vec![Update::Complete(answer)], self));
        };
        loop {
            let response = match responses.message().await {
                Ok(Some(response)) => response,
                result => {
                    self.registry.interrupt(&self.service, known);
                    return Err(match result {
                        Err(status) => client::error(self.purpose(), status),
                        Ok(_) => self.error("closed", "the stream ended"),
                    });
                }
            };
            if let Some(error) = self.cancellation(&response) {
                return Err(error);
            }
            let updates = known.apply(response, skipped);
            if !updates.is_empty() {
                self.open = Some(Open { known, responses });
                return Ok((updates, self));
            }
        }
    }

    fn purpose(&self) -> Purpose<'_> {
        ("watch", &self.service)
    }

    fn error(&self, error_type: &'static str, reason: &str) -> RegistryError {
        RegistryError::new(NAME, "watch", &self.service, error_type, reason)
    }

    /// Returns the error of a watch that etcd has ended. The next one reads the keys anew.
    fn cancellation(&self, response: &WatchResponse) -> Option<RegistryError> {
        if response.compact_revision > 0 {
            let reason = format!("etcd has compacted the revisions before {}", response.compact_revision);
            return Some(self.error("compacted", &reason));
        }
        let reason = || format!("etcd has cancelled the watch: {}", response.cancel_reason);
        response.canceled.then(|| self.error("cancelled", &reason()))
    }

    /// Reads the keys, unless a watch before has done so, and starts the stream from their revision. It is a span.
    async fn start(&self) -> Result<Started, RegistryError> {
        let (registry, service) = (&self.registry, &*self.service);
        let request = async {
            let (known, rejected) = match registry.take_interrupted(service) {
                Some(known) => (known, 0),
                None => registry.read("watch", service).await?,
            };
            let (key, range_end) = registry.range(service);
            let start_revision = known.revision + 1;
            let create = WatchCreateRequest { key, range_end, start_revision, progress_notify: true };
            let request = WatchRequest { create_request: Some(create) };
            let path = "/etcdserverpb.Watch/Watch";
            let opened = registry.client.stream(self.purpose(), path, request, true).await;
            let (first, responses): (WatchResponse, _) =
                opened.inspect_err(|_| registry.interrupt(service, known.clone()))?;
            if let Some(error) = self.cancellation(&first) {
                return Err(error);
            }
            let header = first.header.unwrap_or_default();
            if header.revision < known.revision || header.cluster_id != known.cluster {
                // Restored from a backup, or another cluster: its changes would be waited for in vain.
                return Err(self.error("reset", "etcd has gone back to an earlier revision"));
            }
            Ok(Started { open: Open { known, responses }, rejected })
        };
        lookup::record(&registry.instrumentation, names("watch", service), registry.client.server(), request)
            .await
    }
}

struct Started {
    open: Open,
    rejected: u64,
}

impl Response for Started {
    fn endpoints(&self) -> Option<usize> {
        Some(self.open.known.endpoints.len())
    }
}

impl EtcdRegistry {
    /// Keeps the endpoints of a watch that broke for the one after it.
    fn interrupt(&self, service: &str, known: Known) {
        let mut interrupted = self.interrupted.lock().unwrap_or_else(PoisonError::into_inner);
        interrupted.insert(service.to_owned(), known);
    }

    fn take_interrupted(&self, service: &str) -> Option<Known> {
        self.interrupted.lock().unwrap_or_else(PoisonError::into_inner).remove(service)
    }
}
