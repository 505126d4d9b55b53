//! The instruments of a pool.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-metrics/#connection-pools); the conventions give
//! no bucket boundaries, and those of operations are used.

use std::sync::{Arc, Weak};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use otel_operation::{AttributedCounter, AttributedHistogram, AttributedUpDownCounter};

use crate::attributes::{CONNECTION_POOL_NAME, CONNECTION_STATE};
use crate::metrics::DURATION_BOUNDARIES;
use crate::pool::{ObservedPool, PoolSnapshot};

pub(super) struct PoolInstruments {
    name: KeyValue,
    pub(super) pending: AttributedUpDownCounter,
    pub(super) timeouts: AttributedCounter,
    pub(super) create_time: AttributedHistogram<f64>,
    pub(super) wait_time: AttributedHistogram<f64>,
    pub(super) use_time: AttributedHistogram<f64>,
}

impl PoolInstruments {
    /// The descriptions are the registry's, to the letter.
    pub(super) fn new(meter: &Meter, name: Arc<str>) -> Self {
        let name = KeyValue::new(CONNECTION_POOL_NAME, name);
        let time = |metric: &'static str, description: &'static str| {
            let histogram = meter
                .f64_histogram(metric)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(DURATION_BOUNDARIES.to_vec())
                .build();
            AttributedHistogram::new(&histogram, vec![name.clone()])
        };
        let pending = meter
            .i64_up_down_counter("db.client.connection.pending_requests")
            .with_unit("{request}")
            .with_description("The number of current pending requests for an open connection.")
            .build();
        let timeouts = meter
            .u64_counter("db.client.connection.timeouts")
            .with_unit("{timeout}")
            .with_description(
                "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
            )
            .build();
        Self {
            pending: AttributedUpDownCounter::new(&pending, vec![name.clone()]),
            timeouts: AttributedCounter::new(&timeouts, vec![name.clone()]),
            create_time: time(
                "db.client.connection.create_time",
                "The time it took to create a new connection.",
            ),
            wait_time: time(
                "db.client.connection.wait_time",
                "The time it took to obtain an open connection from the pool.",
            ),
            use_time: time(
                "db.client.connection.use_time",
                "The time between borrowing a connection and returning it to the pool.",
            ),
            name,
        }
    }

    pub(super) fn name(&self) -> &KeyValue {
        &self.name
    }
}

/// Observes the connections of a pool at each collection, as long as the pool exists.
pub(super) fn observe_pool(meter: &Meter, name: KeyValue, pool: Weak<dyn ObservedPool>) {
    let state = |state: &'static str| [name.clone(), KeyValue::new(CONNECTION_STATE, state)];
    let (idle, used) = (state("idle"), state("used"));
    let observed = Weak::clone(&pool);
    meter
        .i64_observable_up_down_counter("db.client.connection.count")
        .with_unit("{connection}")
        .with_description(
            "The number of connections that are currently in state described by the `state` attribute.",
        )
        .with_callback(move |observer| {
            if let Some(pool) = observed.upgrade() {
                let snapshot = pool.snapshot();
                observer.observe(signed(snapshot.idle), &idle);
                observer.observe(signed(snapshot.used), &used);
            }
        })
        .build();
    type Limit = fn(&PoolSnapshot) -> Option<u64>;
    let limits: [(&'static str, &'static str, Limit); 3] = [
        ("db.client.connection.max", "The maximum number of open connections allowed.", |snapshot| {
            snapshot.max
        }),
        (
            "db.client.connection.idle.max",
            "The maximum number of idle open connections allowed.",
            |snapshot| snapshot.idle_max,
        ),
        (
            "db.client.connection.idle.min",
            "The minimum number of idle open connections allowed.",
            |snapshot| snapshot.idle_min,
        ),
    ];
    for (metric, description, limit) in limits {
        let (observed, name) = (Weak::clone(&pool), [name.clone()]);
        meter
            .i64_observable_up_down_counter(metric)
            .with_unit("{connection}")
            .with_description(description)
            .with_callback(move |observer| {
                let limit = observed.upgrade().and_then(|pool| limit(&pool.snapshot()));
                if let Some(limit) = limit {
                    observer.observe(signed(limit), &name);
                }
            })
            .build();
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
