//! The names of attributes, events and metrics, and the attributes of a pick.
//!
//! Follows the [general semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/general/attributes/), `network.peer.*` and `server.*`, and
//! `docs/conventions.md` for names of ours. The names of services come from the program; what comes from a registry is on spans
//! alone.

use opentelemetry::{KeyValue, StringValue, Value};

use crate::endpoint::Endpoint;

const PEER_ADDRESS: &str = "network.peer.address";
const PEER_PORT: &str = "network.peer.port";
#[cfg(any(feature = "consul", feature = "etcd"))]
pub(crate) const SERVER_ADDRESS: &str = "server.address";
#[cfg(any(feature = "consul", feature = "etcd"))]
pub(crate) const SERVER_PORT: &str = "server.port";
/// The name of the service, on spans and metrics.
pub(crate) const SERVICE: &str = "service.peer.name";

/// The kind of the registry, on spans and metrics.
pub(crate) const REGISTRY: &str = "discovery.registry";
/// The strategy of a choice, on spans and metrics.
pub(crate) const STRATEGY: &str = "discovery.strategy";
/// The number of endpoints among which one was chosen.
const CANDIDATES: &str = "discovery.candidates";
/// The number of the pick within its call, from 1: an endpoint that is not ready is given up for another.
const PICK_ATTEMPT: &str = "discovery.pick.attempt";
/// The id of an instance, as its registry has it.
const ENDPOINT_ID: &str = "discovery.endpoint.id";
/// The time since the last good answer of a registry that fails, in seconds, on the span of a call.
const STALE_TIME: &str = "discovery.stale_time";
/// The number of endpoints in the answer of a registry, on the span of its look-up.
#[cfg(any(feature = "consul", feature = "dns", feature = "etcd"))]
pub(crate) const ANSWER_ENDPOINTS: &str = "discovery.answer.endpoints";
/// The state of endpoints, on their metric.
pub(crate) const ENDPOINT_STATE: &str = "discovery.endpoint.state";
/// An endpoint was ejected; an event of the call whose failure was the last one.
pub(crate) const EJECTION: &str = "discovery.ejection";
/// The time for which an endpoint is ejected in seconds, on the event.
pub(crate) const EJECTION_TIME: &str = "discovery.ejection.time";

/// The names of [gRFC A72](https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md): the call waited for the
/// first answer of the registry, or until an endpoint was ready.
pub(crate) const DELAYED_RESOLUTION: &str = "Delayed name resolution complete";
pub(crate) const DELAYED_PICK: &str = "Delayed LB pick complete";

/// The number of endpoints, by their state.
pub(crate) const ENDPOINTS: &str = "discovery.endpoints";
/// The number of choices.
pub(crate) const PICKS: &str = "discovery.picks";
/// The number of ejections.
pub(crate) const EJECTIONS: &str = "discovery.ejections";
/// The number of watches that failed or ended, and began again.
pub(crate) const WATCH_RESTARTS: &str = "discovery.watch.restarts";
/// The time since the last good answer of a registry that fails, else 0.
pub(crate) const STALENESS: &str = "discovery.staleness";
/// The number of registrations that are no endpoint.
pub(crate) const REJECTED_ENDPOINTS: &str = "discovery.rejected_endpoints";
/// The number of renewals of leases.
pub(crate) const LEASE_RENEWALS: &str = "discovery.lease.renewals";

/// The facts of a choice beside its endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PickFacts {
    pub(crate) strategy: &'static str,
    pub(crate) candidates: usize,
    pub(crate) attempt: u32,
    /// In seconds; `None` unless the registry fails.
    pub(crate) stale_time: Option<f64>,
}

/// The attributes of a choice, for the span of its call.
pub(crate) fn pick(endpoint: &Endpoint, facts: PickFacts) -> Vec<KeyValue> {
    let mut list = Vec::with_capacity(8);
    // An address is an IP address by the conventions; the name of a host is part of the id by default.
    if let Some(ip) = endpoint.ip() {
        list.push(KeyValue::new(PEER_ADDRESS, Value::String(StringValue::from(ip.clone()))));
        list.push(KeyValue::new(PEER_PORT, i64::from(endpoint.port())));
    }
    list.push(KeyValue::new(ENDPOINT_ID, Value::String(StringValue::from(endpoint.shared_id().clone()))));
    list.push(KeyValue::new(STRATEGY, facts.strategy));
    list.push(KeyValue::new(CANDIDATES, i64::try_from(facts.candidates).unwrap_or(i64::MAX)));
    list.push(KeyValue::new(PICK_ATTEMPT, i64::from(facts.attempt)));
    if let Some(seconds) = facts.stale_time {
        list.push(KeyValue::new(STALE_TIME, seconds));
    }
    list
}

/// The attributes of an ejection.
pub(crate) fn ejection(endpoint: &Endpoint, seconds: f64) -> Vec<KeyValue> {
    let id = Value::String(StringValue::from(endpoint.shared_id().clone()));
    vec![KeyValue::new(ENDPOINT_ID, id), KeyValue::new(EJECTION_TIME, seconds)]
}
