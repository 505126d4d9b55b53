//! The metrics of tasks. Their only attributes are the task's name and `error.type`.
//!
//! Follows `docs/conventions.md`.

mod channel;
mod lock;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, UpDownCounter};
use otel_operation::{
    AttributedHistogram, AttributedUpDownCounter, DURATION_BOUNDARIES, ERROR_TYPE, LazyInstruments, Outcome,
    SmallOnceMap, intern,
};

pub(crate) use self::channel::{ChannelInstruments, ChannelSeries};
pub(crate) use self::lock::{LockInstruments, LockSeries};
use crate::attributes::{TASK_ACTIVE, TASK_DURATION, TASK_NAME, TASK_QUEUE_DURATION};

/// Bucket boundaries of waits inside a process, in seconds: most are far below a millisecond.
const WAIT_BOUNDARIES: [f64; 12] =
    [0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The error types of one name whose series are found without a lock.
const ERRORS: usize = 4;

fn seconds(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
    boundaries: &[f64],
) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
    histogram.with_boundaries(boundaries.to_vec()).build()
}

/// The series of one histogram, by `error.type`.
#[derive(Debug, Default)]
struct DurationSeries(SmallOnceMap<Option<&'static str>, AttributedHistogram<f64>, ERRORS>);

impl DurationSeries {
    fn record(&self, histogram: &Histogram<f64>, name: &KeyValue, outcome: &Outcome, elapsed: Duration) {
        let error = outcome.error_type();
        let make = || {
            let error = error.map(|error| KeyValue::new(ERROR_TYPE, error.clone()));
            AttributedHistogram::new(histogram, std::iter::once(name.clone()).chain(error).collect())
        };
        let seconds = elapsed.as_secs_f64();
        let key = match error {
            None => None,
            Some(Cow::Borrowed(error)) => Some(*error),
            // Interned, so that the key is `Copy`. If the interner is full, the series is built at each use.
            Some(Cow::Owned(error)) => match intern(error) {
                Cow::Borrowed(error) => Some(error),
                Cow::Owned(_) => return make().record(seconds),
            },
        };
        self.0.get_or_init_with(key, make, |series| series.record(seconds));
    }
}

#[derive(Debug)]
pub(crate) struct TaskInstruments {
    duration: Histogram<f64>,
    queue_duration: Histogram<f64>,
    active: UpDownCounter<i64>,
}

impl TaskInstruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let active = meter.i64_up_down_counter(TASK_ACTIVE).with_unit("{task}");
        Self {
            duration: seconds(
                meter,
                TASK_DURATION,
                "Duration of tasks from spawn to end.",
                &DURATION_BOUNDARIES,
            ),
            queue_duration: seconds(
                meter,
                TASK_QUEUE_DURATION,
                "Time from the spawn of tasks to their first poll.",
                &WAIT_BOUNDARIES,
            ),
            active: active.with_description("Tasks that have been spawned and have not ended.").build(),
        }
    }
}

/// The metrics of the tasks of one name.
#[derive(Debug)]
pub(crate) struct TaskSeries {
    instruments: Arc<LazyInstruments<TaskInstruments>>,
    name: KeyValue,
    duration: DurationSeries,
    queue: OnceLock<AttributedHistogram<f64>>,
    active: OnceLock<AttributedUpDownCounter>,
}

impl TaskSeries {
    pub(crate) fn new(instruments: &Arc<LazyInstruments<TaskInstruments>>, name: &str) -> Self {
        Self {
            instruments: Arc::clone(instruments),
            name: KeyValue::new(TASK_NAME, name.to_owned()),
            duration: DurationSeries::default(),
            queue: OnceLock::new(),
            active: OnceLock::new(),
        }
    }

    /// Returns true if the tasks were counted, which they are once a meter provider is installed.
    pub(crate) fn add_active(&self, delta: i64) -> bool {
        let Some(instruments) = self.instruments.get() else { return false };
        let series = || AttributedUpDownCounter::new(&instruments.active, vec![self.name.clone()]);
        self.active.get_or_init(series).add(delta);
        true
    }

    /// Records the time from a spawn to the first poll, in seconds.
    pub(crate) fn record_queue_time(&self, queued: f64) {
        if let Some(instruments) = self.instruments.get() {
            let series = || AttributedHistogram::new(&instruments.queue_duration, vec![self.name.clone()]);
            self.queue.get_or_init(series).record(queued);
        }
    }

    pub(crate) fn record_duration(&self, outcome: &Outcome, elapsed: Duration) {
        if let Some(instruments) = self.instruments.get() {
            self.duration.record(&instruments.duration, &self.name, outcome, elapsed);
        }
    }
}
