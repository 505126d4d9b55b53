//! The start of the `send` operation of one record, and its way into librdkafka's queue.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans".

#![expect(clippy::result_large_err, reason = "rdkafka gives a record back in this way")]

use opentelemetry::{Context, KeyValue};
use otel_messaging::OutboundMessage;
use otel_messaging::attributes::MessageAttributes;
use otel_operation::Outcome;
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::BaseRecord;

use crate::attributes;
use crate::carrier::HeaderEdit;
use crate::kafka::ClientInstrumentation;
use crate::outcome;
use crate::producer::in_flight::{RecordParts, Sending, StartedRecord};
use crate::producer::shared::{RawProducer, Shared};

/// A record before it is sent.
struct OutboundRecord<'a> {
    parts: RecordParts<'a>,
    headers: HeaderEdit,
    is_confirmed: bool,
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
        if !self.is_confirmed {
            attributes.push(KeyValue::new(attributes::CONFIRMED, false));
        }
    }
}

/// Starts the `send` operation of a record and injects its context as far as the topic's limit leaves room.
pub(crate) fn begin<'a, O: Send + Sync>(
    kafka: &ClientInstrumentation,
    shared: &Shared<O>,
    parts: RecordParts<'a>,
    headers: Option<OwnedHeaders>,
    opaque: O,
) -> StartedRecord<'a, O> {
    let budget = shared.limits.budget(&parts, headers.as_ref().map(OwnedHeaders::as_borrowed));
    let settings = shared.settings;
    let is_confirmed = settings.reports_success && settings.is_acknowledged;
    let mut outbound = OutboundRecord { parts, headers: HeaderEdit::new(headers), is_confirmed };
    let send = kafka.topic(parts.topic);
    let operation = send.send("send").start_outbound(&Context::current(), &mut outbound, budget);
    let (headers, own) = outbound.headers.into_parts();
    let has_partition = parts.partition.is_some_and(|partition| partition >= 0);
    let is_context_dropped = operation.is_context_dropped();
    let sending = Sending { operation, own, timestamp: parts.timestamp, has_partition, is_context_dropped };
    StartedRecord { parts, headers, sending, opaque }
}

/// Enqueues a record, with its original headers if the injected ones make it too large for the client.
pub(crate) fn enqueue<'a, O: Send + Sync>(
    kafka: &ClientInstrumentation,
    producer: &dyn RawProducer<O>,
    record: StartedRecord<'a, O>,
) -> Result<(), (KafkaError, StartedRecord<'a, O>)> {
    let Err((error, mut record)) = produce(kafka, producer, record) else { return Ok(()) };
    if outcome::is_too_large(&error)
        && let Some(own) = record.sending.own.take()
    {
        record.headers = own.restore(record.headers);
        record.sending.is_context_dropped = true;
        return produce(kafka, producer, record);
    }
    Err((error, record))
}

/// Enqueues a record as it is. Ends its operation if no report will.
pub(crate) fn produce<'a, O: Send + Sync>(
    kafka: &ClientInstrumentation,
    producer: &dyn RawProducer<O>,
    record: StartedRecord<'a, O>,
) -> Result<(), (KafkaError, StartedRecord<'a, O>)> {
    let StartedRecord { parts, headers, sending, opaque } = record;
    let is_context_dropped = sending.is_context_dropped;
    let (delivery_opaque, unreported) = producer.shared().opaques.opaque(sending, opaque);
    let RecordParts { topic, partition, payload, key, timestamp } = parts;
    let record = BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque };
    let Err((error, record)) = producer.produce(record) else {
        if is_context_dropped {
            kafka.count_context_dropped();
        }
        if let Some(sending) = unreported {
            sending.operation.finish(&Outcome::ok());
        }
        return Ok(());
    };
    let BaseRecord { headers, delivery_opaque, .. } = record;
    let state = delivery_opaque.take().and_then(|(sending, opaque)| Some((sending.or(unreported)?, opaque)));
    // librdkafka does not have the record, so that its state is here.
    state.map_or(Ok(()), |(sending, opaque)| Err((error, StartedRecord { parts, headers, sending, opaque })))
}

/// Ends the operation of a record that was rejected. Returns the record's original headers and the user's opaque.
pub(crate) fn finish_rejected<O>(
    error: &KafkaError,
    record: StartedRecord<'_, O>,
) -> (Option<OwnedHeaders>, O) {
    let StartedRecord { headers, sending: Sending { operation, own, .. }, opaque, .. } = record;
    operation.finish(&outcome::of_error(error));
    match own {
        Some(own) => (own.restore(headers), opaque),
        None => (headers, opaque),
    }
}
