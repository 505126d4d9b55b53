//! Bound instruments are used only while they are declared. A test binary of its own, because the declarations are the
//! process's.

#![cfg(feature = "bound-metrics")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundSyncInstrument, Histogram, SyncInstrument};
use otel_operation::{AttributedHistogram, declare_bound_metrics, reset_declarations};

/// Counts the measurements of each kind. The API's default for an SDK without bound instruments discards those.
#[derive(Clone, Default)]
struct Counts {
    unbound: Arc<AtomicU64>,
    bound: Arc<AtomicU64>,
}

impl SyncInstrument<u64> for Counts {
    fn measure(&self, _: u64, attributes: &[KeyValue]) {
        assert_eq!(attributes.len(), 1);
        self.unbound.fetch_add(1, Ordering::Relaxed);
    }

    fn bind(&self, attributes: &[KeyValue]) -> Box<dyn BoundSyncInstrument<u64> + Send + Sync> {
        assert_eq!(attributes.len(), 1);
        Box::new(self.clone())
    }
}

impl BoundSyncInstrument<u64> for Counts {
    fn measure(&self, _: u64) {
        self.bound.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn measurements_are_bound_only_where_the_application_declares_an_sdk_that_has_it() {
    let counts = Counts::default();
    let histogram = Histogram::new(Arc::new(counts.clone()));
    let series = AttributedHistogram::new(&histogram, vec![KeyValue::new("kind", "a")]);
    let seen = || (counts.unbound.load(Ordering::Relaxed), counts.bound.load(Ordering::Relaxed));
    series.record(1);
    assert_eq!(seen(), (1, 0));
    declare_bound_metrics();
    series.record(1);
    series.record(1);
    assert_eq!(seen(), (1, 2), "also by a series that recorded before");
    reset_declarations();
    let after = AttributedHistogram::new(&histogram, vec![KeyValue::new("kind", "b")]);
    after.record(1);
    assert_eq!(seen(), (2, 2), "the next SDK may have none");
}
