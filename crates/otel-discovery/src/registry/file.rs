//! The registry in a file: endpoints of services as JSON, read again when the file changes.
//!
//! Follows the [file-based discovery of
//! Prometheus](https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config) in that a file that
//! cannot be read leaves the endpoints as they are.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::endpoint::{Endpoint, Health, InvalidEndpoint};
use crate::error::RegistryError;
use crate::registry::{Registry, RegistryAnswer, Update, Updates};

const NAME: &str = "file";
/// Limit in bytes of the file.
const LONGEST_FILE: u64 = 64 * 1024 * 1024;

/// A registry in a JSON file:
///
/// ```json
/// { "stock": [{ "address": "10.0.0.1:8080", "id": "a", "weight": 2, "healthy": true, "metadata": { "zone": "eu-1" } }] }
/// ```
///
/// All but the address can be left out. The file is read once a second, because files that are mounted or replaced send no
/// event on many systems.
#[derive(Clone, Debug)]
pub struct FileRegistry {
    path: Arc<Path>,
    interval: Duration,
}

#[derive(Deserialize)]
struct Entry {
    address: String,
    id: Option<String>,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default = "yes")]
    healthy: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

fn one() -> u16 {
    1
}

fn yes() -> bool {
    true
}

impl FileRegistry {
    /// Creates a registry of the file with this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), interval: Duration::from_secs(1) }
    }

    /// Sets the time between two looks at the file. Default: 1 s.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    async fn read(&self, operation: &'static str, service: &str) -> Result<Vec<u8>, RegistryError> {
        let error = |error: io::Error| {
            let error_type = match error.kind() {
                io::ErrorKind::NotFound => "not_found",
                _ => "io",
            };
            RegistryError::new(format!("file {}", self.path.display()), operation, service, error_type, error)
        };
        let file = tokio::fs::File::open(&*self.path).await.map_err(error)?;
        let mut text = Vec::new();
        file.take(LONGEST_FILE).read_to_end(&mut text).await.map_err(error)?;
        Ok(text)
    }

    fn parse(
        &self,
        operation: &'static str,
        service: &str,
        text: &[u8],
    ) -> Result<RegistryAnswer, RegistryError> {
        let services: HashMap<String, Vec<Value>> = serde_json::from_slice(text).map_err(|error| {
            let registry = format!("file {}", self.path.display());
            RegistryError::new(registry, operation, service, "malformed", error)
        })?;
        let entries = services.get(service).map_or(&[][..], Vec::as_slice);
        Ok(RegistryAnswer::collect(entries.iter().map(endpoint)))
    }
}

/// Returns the endpoint of an entry.
fn endpoint(entry: &Value) -> Result<Endpoint, InvalidEndpoint> {
    let entry = Entry::deserialize(entry).map_err(|_| InvalidEndpoint::new("entry"))?;
    let health = if entry.healthy { Health::Healthy } else { Health::Unhealthy };
    let endpoint = Endpoint::parse(&entry.address)?.with_weight(entry.weight).with_health(health);
    let endpoint = match &entry.id {
        Some(id) => endpoint.with_id(id)?,
        None => endpoint,
    };
    entry.metadata.iter().try_fold(endpoint, |endpoint, (key, value)| endpoint.with_metadata(key, value))
}

impl Registry for FileRegistry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        let (registry, service) = (self.clone(), service.to_owned());
        Box::pin(async move {
            let text = registry.read("resolve", &service).await?;
            registry.parse("resolve", &service, &text)
        })
    }

    fn watch(&self, service: &str) -> Updates {
        let state = (self.clone(), service.to_owned(), None::<Vec<u8>>);
        let updates = stream::unfold(state, |(registry, service, mut last)| async move {
            loop {
                if last.is_some() {
                    tokio::time::sleep(registry.interval).await;
                }
                let text = match registry.read("watch", &service).await {
                    Ok(text) if last.as_ref() == Some(&text) => continue,
                    Ok(text) => text,
                    Err(error) => return Some((Err(error), (registry, service, last))),
                };
                let answer = registry.parse("watch", &service, &text).map(Update::Complete);
                last = Some(text);
                return Some((answer, (registry, service, last)));
            }
        });
        updates.boxed()
    }
}
