//! The metric of locks. Its only attribute is the lock's name.
//!
//! Follows `docs/conventions.md`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use otel_operation::{AttributedHistogram, LazyInstruments};

use super::{WAIT_BOUNDARIES, seconds};
use crate::attributes::{LOCK_NAME, LOCK_WAIT_DURATION};

#[derive(Debug)]
pub(crate) struct LockInstruments {
    wait_duration: Histogram<f64>,
}

impl LockInstruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let description = "Time of waits for a lock that was not free.";
        Self { wait_duration: seconds(meter, LOCK_WAIT_DURATION, description, &WAIT_BOUNDARIES) }
    }
}

/// The metric of the locks of one name.
#[derive(Debug)]
pub(crate) struct LockSeries {
    instruments: Arc<LazyInstruments<LockInstruments>>,
    name: KeyValue,
    wait: OnceLock<AttributedHistogram<f64>>,
}

impl LockSeries {
    pub(crate) fn new(instruments: &Arc<LazyInstruments<LockInstruments>>, name: &str) -> Self {
        let name = KeyValue::new(LOCK_NAME, name.to_owned());
        Self { instruments: Arc::clone(instruments), name, wait: OnceLock::new() }
    }

    pub(crate) fn record_wait(&self, waited: Duration) {
        if let Some(instruments) = self.instruments.get() {
            let series = || AttributedHistogram::new(&instruments.wait_duration, vec![self.name.clone()]);
            self.wait.get_or_init(series).record(waited.as_secs_f64());
        }
    }
}
