//! The metrics of sagas. Their attributes come from definitions, never from callers, and so are bounded.
//!
//! Follows `docs/conventions.md`.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use otel_operation::{AttributedCounter, AttributedHistogram, ERROR_TYPE, SmallOnceMap};

use super::names;

/// Bucket boundaries of attempts in seconds: a step is one or two requests.
const STEP: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Bucket boundaries of sagas in seconds: a saga may wait for hours.
const SAGA: [f64; 14] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];
/// Bucket boundaries of appends in seconds: an append is one fsync.
const APPEND: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

#[derive(Debug)]
pub(crate) struct SagaInstruments {
    duration: Histogram<f64>,
    step_duration: Histogram<f64>,
    append_duration: Histogram<f64>,
    /// The series by error type: none, `fenced`, `journal`.
    appends: SmallOnceMap<Option<&'static str>, AttributedHistogram<f64>, 3>,
    retries: Counter<u64>,
    recoveries: Counter<u64>,
    conflicts: Counter<u64>,
    instances: Gauge<u64>,
    oldest_age: Gauge<f64>,
}

impl SagaInstruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, description: &'static str, boundaries: &[f64]| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
            histogram.with_boundaries(boundaries.to_vec()).build()
        };
        let counter = |name: &'static str, unit: &'static str, description: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        Self {
            duration: seconds(names::DURATION, "Duration of sagas from start to end.", &SAGA),
            step_duration: seconds(names::STEP_DURATION, "Duration of attempts.", &STEP),
            append_duration: seconds(names::APPEND_DURATION, "Duration of appends to the journal.", &APPEND),
            appends: SmallOnceMap::new(),
            retries: counter(names::STEP_RETRIES, "{retry}", "Attempts after the first one."),
            recoveries: counter(
                names::RECOVERIES,
                "{saga}",
                "Sagas that went on after their worker had died.",
            ),
            conflicts: counter(names::CONFLICTS, "{conflict}", "Appends that came second."),
            instances: meter
                .u64_gauge(names::INSTANCES)
                .with_unit("{saga}")
                .with_description("Sagas in the journal, by state.")
                .build(),
            oldest_age: meter
                .f64_gauge(names::OLDEST_AGE)
                .with_unit("s")
                .with_description("Age of the oldest saga that has not ended.")
                .build(),
        }
    }

    pub(super) fn duration(&self, attributes: Vec<KeyValue>) -> AttributedHistogram<f64> {
        AttributedHistogram::new(&self.duration, attributes)
    }

    pub(super) fn step_duration(&self, attributes: Vec<KeyValue>) -> AttributedHistogram<f64> {
        AttributedHistogram::new(&self.step_duration, attributes)
    }

    pub(super) fn appended(&self, elapsed: Duration, error: Option<&'static str>) {
        let make = || {
            let error = error.map(|error| KeyValue::new(ERROR_TYPE, error));
            AttributedHistogram::new(&self.append_duration, error.into_iter().collect())
        };
        self.appends.get_or_init_with(error, make, |series| series.record(elapsed.as_secs_f64()));
    }

    pub(super) fn retries(&self, attributes: Vec<KeyValue>) -> AttributedCounter {
        AttributedCounter::new(&self.retries, attributes)
    }

    pub(super) fn recoveries(&self, attributes: Vec<KeyValue>) -> AttributedCounter {
        AttributedCounter::new(&self.recoveries, attributes)
    }

    pub(super) fn conflicts(&self, attributes: Vec<KeyValue>) -> AttributedCounter {
        AttributedCounter::new(&self.conflicts, attributes)
    }

    pub(super) fn held(&self, saga: &str, state: &'static str, count: u64) {
        self.instances.record(count, &[name(saga), KeyValue::new(names::STATE, state)]);
    }

    pub(super) fn oldest(&self, saga: &str, state: &'static str, age: Duration) {
        self.oldest_age.record(age.as_secs_f64(), &[name(saga), KeyValue::new(names::STATE, state)]);
    }
}

fn name(saga: &str) -> KeyValue {
    KeyValue::new(names::SAGA_NAME, saga.to_owned())
}
