//! The answer of `health/service`: entries of a service with their checks.
//!
//! Follows [Consul's Health HTTP API](https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::endpoint::{Endpoint, Health, InvalidEndpoint};
use crate::registry::RegistryAnswer;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    address: String,
    port: u16,
    meta: Option<BTreeMap<String, String>>,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
    warning: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    status: String,
}

/// Parses an answer; entries that are no endpoint are counted.
pub(super) fn parse(text: &[u8]) -> Result<RegistryAnswer, serde_json::Error> {
    let entries: Vec<Value> = serde_json::from_slice(text)?;
    Ok(RegistryAnswer::collect(entries.iter().map(endpoint)))
}

fn endpoint(entry: &Value) -> Result<Endpoint, InvalidEndpoint> {
    let Entry { node, service, checks } =
        Entry::deserialize(entry).map_err(|_| InvalidEndpoint::new("entry"))?;
    let has = |status: &str| checks.iter().any(|check| check.status == status);
    let host = if service.address.is_empty() { node.address } else { service.address };
    let weight =
        service.weights.map_or(1, |weights| if has("warning") { weights.warning } else { weights.passing });
    let health = if has("critical") || has("maintenance") { Health::Unhealthy } else { Health::Healthy };
    let endpoint = Endpoint::new(&host, service.port)?.with_id(&service.id)?;
    let endpoint = endpoint.with_weight(weight).with_health(health);
    let meta = service.meta.unwrap_or_default();
    meta.iter().try_fold(endpoint, |endpoint, (key, value)| endpoint.with_metadata(key, value))
}
