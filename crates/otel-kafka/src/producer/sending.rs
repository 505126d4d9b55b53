//! One record on its way: what waits for the broker's word, and what is done about a record that became too large.
//!
//! Follows the messaging semantic conventions, "Producer spans": a `send` span lasts until the broker has answered.

#![expect(clippy::result_large_err, reason = "rdkafka gives a record back in this way")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::Context;
use otel_messaging::{MessagingOperation, inject};
use otel_operation::Outcome;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, DeliveryResult, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use crate::attributes;
use crate::carrier::{HeaderExtractor, Own, Written};
use crate::kafka::Kafka;
use crate::outcome;

/// A record as it is handed to librdkafka.
pub(crate) type Sent<'a, O> = BaseRecord<'a, [u8], [u8], Box<Pending<O>>>;

/// What of a record is borrowed from the caller, or copied: all but headers and opaque.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) timestamp: Option<i64>,
}

/// What librdkafka keeps with a record until it is delivered, or is not.
#[derive(Debug)]
pub struct Pending<O> {
    sending: Option<Sending>,
    opaque: O,
}

#[derive(Debug)]
struct Sending {
    operation: MessagingOperation,
    /// The record's own headers; `None` once the record is sent with nothing but them.
    own: Option<Own>,
    /// What the record was given; a delivery report does not always tell it.
    timestamp: Option<i64>,
    /// The span says the partition since its start: the caller has chosen it.
    has_partition: bool,
}

/// A producer of rdkafka's, as far as sending goes.
pub(crate) trait Produce<O: Send + Sync>: Send + Sync {
    /// Enqueues the record, or gives it back.
    fn produce<'a>(&self, record: Sent<'a, O>) -> Result<(), (KafkaError, Sent<'a, O>)>;

    /// What the producer shares with its delivery reports.
    fn shared(&self) -> &Shared<O>;
}

/// What a producer and its delivery reports share; it lives in rdkafka's context.
pub(crate) struct Shared<O: Send + Sync> {
    /// A transaction is being aborted.
    aborting: AtomicBool,
    /// For records that the broker finds too large. Taken away before the producer is dropped, so that no delivery
    /// report ever holds the last reference to it: a producer that is dropped waits for its thread of reports.
    resend: RwLock<Option<Resend<O>>>,
}

/// Sends records again that the broker has found too large.
pub(crate) struct Resend<O: Send + Sync> {
    pub(crate) producer: Arc<dyn Produce<O>>,
    pub(crate) kafka: Kafka,
}

impl<O: Send + Sync> Default for Shared<O> {
    fn default() -> Self {
        Self { aborting: AtomicBool::new(false), resend: RwLock::new(None) }
    }
}

impl<O: Send + Sync> Shared<O> {
    /// From now on too large records are sent again by this producer.
    pub(crate) fn resend_by(&self, resend: Option<Resend<O>>) {
        let before = {
            let mut place = self.resend.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, resend)
        };
        drop(before);
    }

    /// Aborts a transaction: what is purged meanwhile is told as aborted.
    pub(crate) fn abort(&self, abort: impl FnOnce() -> KafkaResult<()>) -> KafkaResult<()> {
        self.aborting.store(true, Ordering::Release);
        let result = abort();
        self.aborting.store(false, Ordering::Release);
        result
    }

    /// The broker's word on a record. Gives back whom it is for, with the record's own headers where it failed and was
    /// sent with ours; `None` if the record was sent again, bare.
    pub(crate) fn delivered(
        &self,
        result: &DeliveryResult<'_>,
        pending: Box<Pending<O>>,
    ) -> Option<(O, Option<Own>)> {
        let (error, message) = match result {
            Ok(message) => (None, message),
            Err((error, message)) => (Some(error), message),
        };
        let pending = match error {
            Some(error) if outcome::is_too_large(error) => self.again(message, pending)?,
            _ => pending,
        };
        let Pending { sending, opaque } = *pending;
        let Some(Sending { operation, own, has_partition, .. }) = sending else {
            return Some((opaque, None));
        };
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

    /// Sends a record again without our headers, if it was sent with them. Gives back what it cannot send: then it is
    /// as if it had not been tried.
    fn again(&self, message: &BorrowedMessage<'_>, mut pending: Box<Pending<O>>) -> Option<Box<Pending<O>>> {
        let resend = self.resend.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Resend { producer, kafka }) = &*resend else { return Some(pending) };
        let Some(sending) = &mut pending.sending else { return Some(pending) };
        let Some(own) = sending.own.take() else { return Some(pending) };
        let parts = Parts {
            topic: message.topic(),
            partition: Some(message.partition()).filter(|partition| *partition >= 0),
            payload: message.payload(),
            key: message.key(),
            timestamp: sending.timestamp,
        };
        let headers = own.restore(message.headers().map(BorrowedHeaders::detach));
        match producer.produce(record(parts, headers, pending)) {
            Ok(()) => {
                kafka.count_left_out();
                None
            }
            Err((_, record)) => {
                let mut pending = record.delivery_opaque;
                if let Some(sending) = &mut pending.sending {
                    sending.own = Some(record.headers.map_or(Own::None, Own::Kept));
                }
                Some(pending)
            }
        }
    }
}

fn record<'a, O: Send + Sync>(
    parts: Parts<'a>,
    headers: Option<OwnedHeaders>,
    pending: Box<Pending<O>>,
) -> Sent<'a, O> {
    let Parts { topic, partition, payload, key, timestamp } = parts;
    BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque: pending }
}

/// Starts the `send` operation of a record and writes its context into the record.
pub(crate) fn begin<'a, O: Send + Sync>(
    kafka: &Kafka,
    parts: Parts<'a>,
    headers: Option<OwnedHeaders>,
    opaque: O,
) -> Sent<'a, O> {
    let destination = kafka.topic(parts.topic);
    let carried = headers.as_ref().filter(|_| destination.is_recorded()).map(|headers| {
        kafka.messaging().extract_without_baggage(&HeaderExtractor::new(headers.as_borrowed()))
    });
    let mut start = destination.send("send");
    if let Some(carried) = &carried {
        start = start.with_message(carried);
    }
    let operation = start.start(&Context::current(), |attributes| {
        attributes::of_message(attributes, parts.partition, parts.key, parts.payload);
    });
    let Some(operation) = operation else {
        return record(parts, headers, Box::new(Pending { sending: None, opaque }));
    };
    let (headers, own) = if operation.record().injects() {
        let mut written = Written::new(headers);
        inject(&operation, &mut written);
        let (headers, own) = written.into_parts();
        (headers, Some(own))
    } else {
        (headers, None)
    };
    let has_partition = parts.partition.is_some_and(|partition| partition >= 0);
    let sending = Sending { operation, own, timestamp: parts.timestamp, has_partition };
    record(parts, headers, Box::new(Pending { sending: Some(sending), opaque }))
}

/// Enqueues a record, bare if it is only too large with our headers.
pub(crate) fn enqueue<'a, O: Send + Sync>(
    kafka: &Kafka,
    producer: &dyn Produce<O>,
    record: Sent<'a, O>,
) -> Result<(), (KafkaError, Sent<'a, O>)> {
    let Err((error, mut record)) = producer.produce(record) else { return Ok(()) };
    if outcome::is_too_large(&error)
        && let Some(sending) = &mut record.delivery_opaque.sending
        && let Some(own) = sending.own.take()
    {
        record.headers = own.restore(record.headers);
        producer.produce(record)?;
        kafka.count_left_out();
        return Ok(());
    }
    Err((error, record))
}

/// Ends the operation of a record that was refused, and gives back what the caller gave: headers and opaque.
pub(crate) fn refused<O: Send + Sync>(error: &KafkaError, record: Sent<'_, O>) -> (Option<OwnedHeaders>, O) {
    let BaseRecord { headers, delivery_opaque, .. } = record;
    let Pending { sending, opaque } = *delivery_opaque;
    let Some(mut sending) = sending else { return (headers, opaque) };
    let own = sending.own.take();
    sending.operation.finish(&outcome::of_error(error));
    match own {
        Some(own) => (own.restore(headers), opaque),
        None => (headers, opaque),
    }
}
