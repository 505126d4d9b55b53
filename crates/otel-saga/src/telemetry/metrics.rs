//! The metrics of sagas. Their attributes come from definitions, never from callers, and so are bounded.
//!
//! Follows `docs/conventions.md`.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
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
    /// Empty on workers that do not record the gauges.
    gauges: Arc<Gauges>,
}

/// The last values of the gauges. They are observed when metrics are read, so that a worker that stops recording them
/// exports no old values.
#[derive(Debug, Default)]
struct Gauges(Mutex<Vec<SagaGauge>>);

/// The values of the gauges for one saga and state.
#[derive(Debug)]
pub(super) struct SagaGauge {
    attributes: [KeyValue; 2],
    count: u64,
    oldest: Option<Duration>,
}

impl SagaGauge {
    pub(super) fn new(saga: &str, state: &'static str, count: u64, oldest: Option<Duration>) -> Self {
        let name = KeyValue::new(names::SAGA_NAME, saga.to_owned());
        Self { attributes: [name, KeyValue::new(names::STATE, state)], count, oldest }
    }
}

impl Gauges {
    /// Calls the function with each value, unless the runtime was dropped.
    fn observe(gauges: &Weak<Self>, mut observe: impl FnMut(&SagaGauge)) {
        if let Some(gauges) = gauges.upgrade() {
            gauges.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(&mut observe);
        }
    }
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
        let gauges = Arc::<Gauges>::default();
        let observed = Arc::downgrade(&gauges);
        meter
            .u64_observable_gauge(names::INSTANCES)
            .with_unit("{saga}")
            .with_description("Sagas in the journal, by state.")
            .with_callback(move |observer| {
                Gauges::observe(&observed, |one| observer.observe(one.count, &one.attributes));
            })
            .build();
        let observed = Arc::downgrade(&gauges);
        meter
            .f64_observable_gauge(names::OLDEST_AGE)
            .with_unit("s")
            .with_description("Age of the oldest saga that has not ended.")
            .with_callback(move |observer| {
                Gauges::observe(&observed, |one| {
                    if let Some(oldest) = one.oldest {
                        observer.observe(oldest.as_secs_f64(), &one.attributes);
                    }
                });
            })
            .build();
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
            gauges,
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

    pub(super) fn set_gauges(&self, gauges: Vec<SagaGauge>) {
        *self.gauges.0.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
    }
}
