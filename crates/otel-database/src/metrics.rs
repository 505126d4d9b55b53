//! The metrics of operations, and the attribute sets that are prepared once per summary.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-metrics/): the duration of each operation
//! (stable), and the number of rows that it returned (in Development).

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use otel_operation::{AttributedHistogram, ERROR_TYPE, Outcome, SmallOnceMap, intern};

use crate::attributes::RESPONSE_STATUS_CODE;

/// The metric of the duration of operations.
pub(crate) const OPERATION_DURATION: &str = "db.client.operation.duration";

/// The metric of the rows that operations returned.
pub(crate) const RETURNED_ROWS: &str = "db.client.response.returned_rows";

/// Bucket boundaries that the conventions advise for durations of database operations, in seconds.
pub(crate) const DURATION_BOUNDARIES: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Bucket boundaries that the conventions advise for numbers of rows.
pub(crate) const ROW_BOUNDARIES: [f64; 13] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0];

/// The number of prepared attribute sets per summary that are found without a hash.
const SETS: usize = 4;

#[derive(Debug)]
pub(crate) struct OperationInstruments {
    duration: Histogram<f64>,
    rows: Histogram<u64>,
}

impl OperationInstruments {
    /// The descriptions are the registry's, to the letter.
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            duration: meter
                .f64_histogram(OPERATION_DURATION)
                .with_unit("s")
                .with_description("Duration of database client operations.")
                .with_boundaries(DURATION_BOUNDARIES.to_vec())
                .build(),
            rows: meter
                .u64_histogram(RETURNED_ROWS)
                .with_unit("{row}")
                .with_description("The actual number of records returned by the database operation.")
                .with_boundaries(ROW_BOUNDARIES.to_vec())
                .build(),
        }
    }
}

/// The key of a prepared attribute set within one summary.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    error: Option<&'static str>,
    has_status_code: bool,
}

#[derive(Debug)]
struct EndInstruments {
    duration: AttributedHistogram<f64>,
    rows: AttributedHistogram<u64>,
}

/// The metrics of one summary or command.
#[derive(Debug)]
pub(crate) struct Series {
    /// The attributes that all its metrics share.
    common: Vec<KeyValue>,
    ended: SmallOnceMap<Key, EndInstruments, SETS>,
}

impl Series {
    pub(crate) fn new(common: Vec<KeyValue>) -> Self {
        Self { common, ended: SmallOnceMap::new() }
    }

    /// Records the duration of an operation, and its rows where they were counted.
    #[inline]
    pub(crate) fn record(
        &self,
        instruments: &OperationInstruments,
        outcome: &Outcome,
        status_code: Option<&Cow<'static, str>>,
        rows: Option<u64>,
        elapsed: Duration,
    ) {
        let make = || self.end_instruments(instruments, outcome.error_type(), status_code);
        let record = |ended: &EndInstruments| {
            ended.duration.record(elapsed.as_secs_f64());
            if let Some(rows) = rows {
                ended.rows.record(rows);
            }
        };
        let error = match outcome.error_type() {
            None => None,
            Some(Cow::Borrowed(error)) => Some(*error),
            // Interned, so that the key is `Copy`. If the interner is full, the attribute set is built at each use.
            Some(Cow::Owned(error)) => match intern(error) {
                Cow::Borrowed(error) => Some(error),
                Cow::Owned(_) => return record(&make()),
            },
        };
        // A status code is the error type.
        let key = Key { error, has_status_code: status_code.is_some() };
        self.ended.get_or_init_with(key, make, record);
    }

    fn end_instruments(
        &self,
        instruments: &OperationInstruments,
        error: Option<&Cow<'static, str>>,
        status_code: Option<&Cow<'static, str>>,
    ) -> EndInstruments {
        let mut attributes = self.common.clone();
        attributes.extend(error.map(|error| KeyValue::new(ERROR_TYPE, error.clone())));
        attributes.extend(status_code.map(|code| KeyValue::new(RESPONSE_STATUS_CODE, code.clone())));
        EndInstruments {
            duration: AttributedHistogram::new(&instruments.duration, attributes.clone()),
            rows: AttributedHistogram::new(&instruments.rows, attributes),
        }
    }
}
