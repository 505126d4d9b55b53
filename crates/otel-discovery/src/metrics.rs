//! The instruments. Their attributes are the name of the service and values of the program.
//!
//! Follows `docs/conventions.md`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

use crate::attributes::{
    EJECTIONS, ENDPOINTS, LEASE_RENEWALS, PICKS, REJECTED_ENDPOINTS, STALENESS, WATCH_RESTARTS,
};

/// A source of the gauges, which is read at each collection.
pub(crate) trait Observed: Send + Sync {
    /// Passes on the number of endpoints with their attributes.
    fn endpoints(&self, _observe: &mut dyn FnMut(u64, &[KeyValue])) {}

    /// Passes on the staleness in seconds with its attributes.
    fn staleness(&self, _observe: &mut dyn FnMut(f64, &[KeyValue])) {}
}

pub(crate) struct Instruments {
    pub(crate) picks: Counter<u64>,
    pub(crate) ejections: Counter<u64>,
    pub(crate) watch_restarts: Counter<u64>,
    pub(crate) rejected_endpoints: Counter<u64>,
    pub(crate) lease_renewals: Counter<u64>,
    sources: Arc<Sources>,
}

#[derive(Default)]
struct Sources(Mutex<Vec<Weak<dyn Observed>>>);

impl Sources {
    /// Calls the function with each source that is alive, and forgets the others.
    fn each(&self, mut observe: impl FnMut(&dyn Observed)) {
        let mut alive = Vec::new();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|source| source.upgrade().map(|source| alive.push(source)).is_some());
        alive.iter().for_each(|source| observe(&**source));
    }
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name, unit, description| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        let sources = Arc::<Sources>::default();
        let observed = Arc::clone(&sources);
        let endpoints = meter.u64_observable_gauge(ENDPOINTS).with_unit("{endpoint}");
        endpoints
            .with_description("Endpoints of a service, by state.")
            .with_callback(move |observer| {
                observed.each(|source| {
                    source.endpoints(&mut |count, attributes| observer.observe(count, attributes));
                });
            })
            .build();
        let observed = Arc::clone(&sources);
        let staleness = meter.f64_observable_gauge(STALENESS).with_unit("s");
        staleness
            .with_description("Time since the last good answer of a registry that fails; 0 if it does not.")
            .with_callback(move |observer| {
                observed.each(|source| {
                    source.staleness(&mut |seconds, attributes| observer.observe(seconds, attributes));
                });
            })
            .build();
        Self {
            picks: counter(PICKS, "{pick}", "Choices of an endpoint for a call."),
            ejections: counter(EJECTIONS, "{ejection}", "Ejections of endpoints that failed."),
            watch_restarts: counter(
                WATCH_RESTARTS,
                "{restart}",
                "Watches that failed or ended, and began again.",
            ),
            rejected_endpoints: counter(
                REJECTED_ENDPOINTS,
                "{endpoint}",
                "Registrations that were left out because they are no valid endpoint, or no service could be made for them.",
            ),
            lease_renewals: counter(LEASE_RENEWALS, "{renewal}", "Renewals of the leases of registrations."),
            sources,
        }
    }

    /// Adds a source of the gauges, for as long as it is alive.
    pub(crate) fn observe(&self, source: Weak<dyn Observed>) {
        self.sources.0.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instruments")
    }
}
