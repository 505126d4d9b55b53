//! The `send` operation of one record, from its start to its delivery report, and the resending of a record that the
//! injected headers made too large.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans": a `send`
//! span ends when the broker has acknowledged or rejected the record.

#![expect(clippy::result_large_err, reason = "rdkafka gives a record back in this way")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::Context;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{HeaderBudget, MessagingOperation, OutboundMessage};
use otel_operation::Outcome;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, DeliveryResult, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use crate::attributes;
use crate::carrier::{HeaderEdit, OriginalHeaders};
use crate::kafka::ClientInstrumentation;
use crate::outcome;

/// A record as it is passed to librdkafka.
pub(crate) type TracedRecord<'a, O> = BaseRecord<'a, [u8], [u8], Box<InFlightRecord<O>>>;

/// The parts of a record that are `Copy`: all except headers and opaque.
#[derive(Clone, Copy)]
pub(crate) struct RecordParts<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) timestamp: Option<i64>,
}

/// The opaque that librdkafka keeps with a record until its delivery report.
#[derive(Debug)]
pub struct InFlightRecord<O> {
    sending: Sending,
    opaque: O,
}

#[derive(Debug)]
struct Sending {
    operation: MessagingOperation,
    /// The original headers; `None` if the record is sent without injected headers.
    own: Option<OriginalHeaders>,
    /// The timestamp of the record, which a delivery report does not always contain.
    timestamp: Option<i64>,
    /// True if the caller chose the partition, which is then recorded at the start.
    has_partition: bool,
}

/// A producer of rdkafka, reduced to sending.
pub(crate) trait RawProducer<O: Send + Sync>: Send + Sync {
    /// Enqueues the record, or returns it with the error.
    fn produce<'a>(&self, record: TracedRecord<'a, O>) -> Result<(), (KafkaError, TracedRecord<'a, O>)>;

    /// Returns the state that is shared with the delivery reports.
    fn shared(&self) -> &Shared<O>;
}

/// The state that a producer shares with its delivery reports, stored in rdkafka's context.
pub(crate) struct Shared<O: Send + Sync> {
    /// True while a transaction is being aborted.
    aborting: AtomicBool,
    /// Resends records that the broker rejected as too large. It is removed before the producer is dropped, so that a
    /// delivery report never holds the last reference: dropping the producer waits for the thread that serves the
    /// reports.
    resend: RwLock<Option<Resend<O>>>,
}

/// The producer and the instrumentation for resending records that the broker rejected as too large.
pub(crate) struct Resend<O: Send + Sync> {
    pub(crate) producer: Arc<dyn RawProducer<O>>,
    pub(crate) kafka: ClientInstrumentation,
}

impl<O: Send + Sync> Default for Shared<O> {
    fn default() -> Self {
        Self { aborting: AtomicBool::new(false), resend: RwLock::new(None) }
    }
}

impl<O: Send + Sync> Shared<O> {
    /// Sets or removes the producer that resends records.
    pub(crate) fn resend_by(&self, resend: Option<Resend<O>>) {
        let before = {
            let mut place = self.resend.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, resend)
        };
        drop(before);
    }

    /// Aborts a transaction. The spans of records that are purged meanwhile end with the error type `aborted`.
    pub(crate) fn abort(&self, abort: impl FnOnce() -> KafkaResult<()>) -> KafkaResult<()> {
        self.aborting.store(true, Ordering::Release);
        let result = abort();
        self.aborting.store(false, Ordering::Release);
        result
    }

    /// Handles a delivery report. Returns the user's opaque, and the original headers if the record failed and was
    /// sent with injected ones. Returns `None` if the record was sent again without injected headers.
    pub(crate) fn delivered(
        &self,
        result: &DeliveryResult<'_>,
        pending: Box<InFlightRecord<O>>,
    ) -> Option<(O, Option<OriginalHeaders>)> {
        let (error, message) = match result {
            Ok(message) => (None, message),
            Err((error, message)) => (Some(error), message),
        };
        let pending = match error {
            Some(error) if outcome::is_too_large(error) => self.resend_without_context(message, pending)?,
            _ => pending,
        };
        let InFlightRecord { sending, opaque } = *pending;
        let Sending { operation, own, has_partition, .. } = sending;
        if let Some(span) = operation.recording() {
            let partition = (!has_partition).then(|| message.partition());
            attributes::delivered(&span, partition, message.offset());
        }
        let Some(error) = error else {
            operation.finish(&Outcome::ok());
            return Some((opaque, None));
        };
        operation.finish(&if outcome::is_purged(error) && self.aborting.load(Ordering::Acquire) {
            Outcome::error(outcome::ABORTED)
        } else {
            outcome::of_error(error)
        });
        Some((opaque, own))
    }

    /// Sends a record again with its original headers if it was sent with injected ones. Returns the opaque unchanged
    /// if it cannot be sent.
    fn resend_without_context(
        &self,
        message: &BorrowedMessage<'_>,
        mut pending: Box<InFlightRecord<O>>,
    ) -> Option<Box<InFlightRecord<O>>> {
        let resend = self.resend.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Resend { producer, kafka }) = &*resend else { return Some(pending) };
        let sending = &mut pending.sending;
        let Some(own) = sending.own.take() else { return Some(pending) };
        let parts = RecordParts {
            topic: message.topic(),
            partition: Some(message.partition()).filter(|partition| *partition >= 0),
            payload: message.payload(),
            key: message.key(),
            timestamp: sending.timestamp,
        };
        let headers = own.restore(message.headers().map(BorrowedHeaders::detach));
        match producer.produce(record(parts, headers, pending)) {
            Ok(()) => {
                kafka.count_context_dropped();
                None
            }
            Err((_, record)) => {
                let mut pending = record.delivery_opaque;
                pending.sending.own =
                    Some(record.headers.map_or(OriginalHeaders::None, OriginalHeaders::Kept));
                Some(pending)
            }
        }
    }
}

fn record<'a, O: Send + Sync>(
    parts: RecordParts<'a>,
    headers: Option<OwnedHeaders>,
    pending: Box<InFlightRecord<O>>,
) -> TracedRecord<'a, O> {
    let RecordParts { topic, partition, payload, key, timestamp } = parts;
    BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque: pending }
}

/// A record before it is sent.
struct OutboundRecord<'a> {
    parts: RecordParts<'a>,
    headers: HeaderEdit,
}

impl OutboundMessage for OutboundRecord<'_> {
    type Headers = HeaderEdit;

    fn headers(&self) -> Option<&HeaderEdit> {
        self.headers.headers.is_some().then_some(&self.headers)
    }

    fn headers_mut(&mut self) -> &mut HeaderEdit {
        &mut self.headers
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        let RecordParts { partition, key, payload, .. } = self.parts;
        attributes::of_message(attributes, partition, key, payload);
    }
}

/// Starts the `send` operation of a record and injects its context.
pub(crate) fn begin<'a, O: Send + Sync>(
    kafka: &ClientInstrumentation,
    parts: RecordParts<'a>,
    headers: Option<OwnedHeaders>,
    opaque: O,
) -> TracedRecord<'a, O> {
    let mut outbound = OutboundRecord { parts, headers: HeaderEdit::new(headers) };
    // A record that the injected headers make too large is sent again without them.
    let budget = HeaderBudget::Unlimited;
    let send = kafka.topic(parts.topic);
    let operation = send.send("send").start_outbound(&Context::current(), &mut outbound, budget);
    let (headers, own) = outbound.headers.into_parts();
    let has_partition = parts.partition.is_some_and(|partition| partition >= 0);
    let sending = Sending { operation, own, timestamp: parts.timestamp, has_partition };
    record(parts, headers, Box::new(InFlightRecord { sending, opaque }))
}

/// Enqueues a record, with its original headers if the injected ones make it too large.
pub(crate) fn enqueue<'a, O: Send + Sync>(
    kafka: &ClientInstrumentation,
    producer: &dyn RawProducer<O>,
    record: TracedRecord<'a, O>,
) -> Result<(), (KafkaError, TracedRecord<'a, O>)> {
    let Err((error, mut record)) = producer.produce(record) else { return Ok(()) };
    if outcome::is_too_large(&error)
        && let Some(own) = record.delivery_opaque.sending.own.take()
    {
        record.headers = own.restore(record.headers);
        producer.produce(record)?;
        kafka.count_context_dropped();
        return Ok(());
    }
    Err((error, record))
}

/// Ends the operation of a record that was rejected. Returns the record's original headers and the user's opaque.
pub(crate) fn finish_rejected<O: Send + Sync>(
    error: &KafkaError,
    record: TracedRecord<'_, O>,
) -> (Option<OwnedHeaders>, O) {
    let BaseRecord { headers, delivery_opaque, .. } = record;
    let InFlightRecord { sending, opaque } = *delivery_opaque;
    let Sending { operation, own, .. } = sending;
    operation.finish(&outcome::of_error(error));
    match own {
        Some(own) => (own.restore(headers), opaque),
        None => (headers, opaque),
    }
}
