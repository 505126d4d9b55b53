//! The four messaging metrics, and the attribute sets that are prepared once per destination.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/), "Metrics" (in
//! Development): processing has its own duration metric; messages are counted as sent when the send attempt ends, and
//! as consumed once per delivery.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use otel_operation::{
    AttributedCounter, AttributedHistogram, DURATION_BOUNDARIES, ERROR_TYPE, Outcome, SmallOnceMap, intern,
};

use crate::attributes::{OPERATION_NAME, OPERATION_TYPE};
use crate::operation_type::{OperationName, OperationType};

/// The maximum number of prepared attribute sets per destination. In practice a destination has fewer combinations of
/// operation and error; a set beyond the limit is built at each use.
const SETS: usize = 16;

#[derive(Debug)]
pub(crate) struct MessagingInstruments {
    client_duration: Histogram<f64>,
    process_duration: Histogram<f64>,
    sent: Counter<u64>,
    consumed: Counter<u64>,
}

impl MessagingInstruments {
    /// The descriptions are the registry's, to the letter.
    pub(crate) fn new(meter: &Meter) -> Self {
        let duration = |name: &'static str, description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(DURATION_BOUNDARIES.to_vec())
                .build()
        };
        let count = |name: &'static str, description: &'static str| {
            meter.u64_counter(name).with_unit("{message}").with_description(description).build()
        };
        Self {
            client_duration: duration(
                "messaging.client.operation.duration",
                "Duration of messaging operation initiated by a producer or consumer client.",
            ),
            process_duration: duration("messaging.process.duration", "Duration of processing operation."),
            sent: count(
                "messaging.client.sent.messages",
                "Number of messages producer attempted to send to the broker.",
            ),
            consumed: count(
                "messaging.client.consumed.messages",
                "Number of messages that were delivered to the application.",
            ),
        }
    }

    fn duration(&self, operation_type: Option<OperationType>) -> Option<&Histogram<f64>> {
        match operation_type {
            Some(OperationType::Create) => None,
            Some(OperationType::Process) => Some(&self.process_duration),
            Some(OperationType::Send | OperationType::Receive | OperationType::Settle) | None => {
                Some(&self.client_duration)
            }
        }
    }

    fn messages(&self, operation_type: Option<OperationType>) -> Option<&Counter<u64>> {
        match operation_type {
            Some(OperationType::Send) => Some(&self.sent),
            Some(OperationType::Receive) => Some(&self.consumed),
            Some(OperationType::Create | OperationType::Process | OperationType::Settle) | None => None,
        }
    }
}

/// The key of a prepared attribute set within one destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    operation_type: Option<OperationType>,
    operation: OperationName,
    error: Option<&'static str>,
}

impl Eq for OperationName {}

impl Hash for OperationName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// The instruments that the end of an operation records to.
#[derive(Debug)]
struct EndInstruments {
    duration: Option<AttributedHistogram<f64>>,
    messages: Option<AttributedCounter>,
}

/// The metrics of one destination.
#[derive(Debug)]
pub(crate) struct Series {
    /// The attributes that all metrics of the destination share.
    common: Vec<KeyValue>,
    ended: SmallOnceMap<Key, EndInstruments, SETS>,
    delivered: SmallOnceMap<OperationName, AttributedCounter, SETS>,
}

impl Series {
    pub(crate) fn new(common: Vec<KeyValue>) -> Self {
        Self { common, ended: SmallOnceMap::new(), delivered: SmallOnceMap::new() }
    }

    pub(crate) fn common(&self) -> &[KeyValue] {
        &self.common
    }

    /// Records the duration of an operation and the number of its messages.
    #[inline]
    pub(crate) fn measure(
        &self,
        instruments: &MessagingInstruments,
        (operation, operation_type): (OperationName, Option<OperationType>),
        messages: u64,
        outcome: &Outcome,
        elapsed: Duration,
    ) {
        let make = || self.end_instruments(instruments, operation, operation_type, outcome.error_type());
        let record = |ended: &EndInstruments| {
            if let Some(duration) = &ended.duration {
                duration.record(elapsed.as_secs_f64());
            }
            if let Some(counter) = &ended.messages
                && messages > 0
            {
                counter.add(messages);
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
        self.ended.get_or_init_with(Key { operation, operation_type, error }, make, record);
    }

    /// Counts messages that were delivered without a `receive` operation.
    pub(crate) fn delivered(
        &self,
        instruments: &MessagingInstruments,
        operation: OperationName,
        messages: u64,
    ) {
        let make = || AttributedCounter::new(&instruments.consumed, self.attributes(operation, None));
        self.delivered.get_or_init_with(operation, make, |counter| counter.add(messages));
    }

    fn end_instruments(
        &self,
        instruments: &MessagingInstruments,
        operation: OperationName,
        operation_type: Option<OperationType>,
        error: Option<&Cow<'static, str>>,
    ) -> EndInstruments {
        let duration = instruments.duration(operation_type).map(|histogram| {
            let mut attributes = self.attributes(operation, error);
            let operation_type =
                operation_type.filter(|operation_type| *operation_type != OperationType::Process);
            attributes.extend(
                operation_type.map(|operation_type| KeyValue::new(OPERATION_TYPE, operation_type.as_str())),
            );
            AttributedHistogram::new(histogram, attributes)
        });
        let messages = instruments
            .messages(operation_type)
            .map(|counter| AttributedCounter::new(counter, self.attributes(operation, error)));
        EndInstruments { duration, messages }
    }

    fn attributes(&self, operation: OperationName, error: Option<&Cow<'static, str>>) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(self.common.len() + 3);
        attributes.extend_from_slice(&self.common);
        attributes.push(KeyValue::new(OPERATION_NAME, operation.0));
        attributes.extend(error.map(|error| KeyValue::new(ERROR_TYPE, error.clone())));
        attributes
    }
}
