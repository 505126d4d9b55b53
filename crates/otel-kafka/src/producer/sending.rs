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
use crate::producer::in_flight::{InFlightRecord, RecordParts, Sending, StartedRecord};
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
    let has_partition = parts.partition.is_some_and(|partition| partition >= 0);
    let timestamp = parts.timestamp;
    if let Some(operation) = kafka.messaging().idle_operation() {
        let sending = Sending { operation, own: None, timestamp, has_partition, is_context_dropped: false };
        return StartedRecord { parts, headers, in_flight: InFlightRecord::new(sending, opaque) };
    }
    let budget = shared.limits.budget(&parts, headers.as_ref().map(OwnedHeaders::as_borrowed));
    let settings = shared.settings;
    let is_confirmed = settings.reports_success && settings.is_acknowledged;
    let mut outbound = OutboundRecord { parts, headers: HeaderEdit::new(headers), is_confirmed };
    let send = kafka.topic(parts.topic);
    let mut operation = send.send("send").start_outbound(&Context::current(), &mut outbound, budget);
    operation.release_context();
    let (headers, own) = outbound.headers.into_parts();
    let is_context_dropped = operation.is_context_dropped();
    let sending = Sending { operation, own, timestamp, has_partition, is_context_dropped };
    StartedRecord { parts, headers, in_flight: InFlightRecord::new(sending, opaque) }
}

/// Enqueues a record, with its original headers if the injected ones make it too large for the client.
pub(crate) fn enqueue<'a, O: Send + Sync>(
    kafka: &ClientInstrumentation,
    producer: &dyn RawProducer<O>,
    record: StartedRecord<'a, O>,
) -> Result<(), (KafkaError, StartedRecord<'a, O>)> {
    let Err((error, mut record)) = produce(kafka, producer, record) else { return Ok(()) };
    if outcome::is_too_large(&error)
        && let Some(sending) = record.in_flight.sending()
        && let Some(own) = sending.own.take()
    {
        record.headers = own.restore(record.headers);
        sending.is_context_dropped = true;
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
    let StartedRecord { parts, headers, in_flight } = record;
    let is_context_dropped = in_flight.is_context_dropped();
    let (delivery_opaque, unreported) = producer.shared().opaques.opaque(in_flight);
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
    let BaseRecord { headers, delivery_opaque: mut in_flight, .. } = record;
    // librdkafka does not have the record, so that its state is here.
    if let Some(sending) = unreported {
        let Some(opaque) = in_flight.take_opaque() else { return Ok(()) };
        in_flight = InFlightRecord::new(sending, opaque);
    }
    Err((error, StartedRecord { parts, headers, in_flight }))
}

/// Ends the operation of a record that was rejected. Returns the record's original headers and the user's opaque.
pub(crate) fn finish_rejected<O>(
    error: &KafkaError,
    record: StartedRecord<'_, O>,
) -> (Option<OwnedHeaders>, Option<O>) {
    let StartedRecord { headers, mut in_flight, .. } = record;
    let Some(sending) = in_flight.sending() else { return (headers, in_flight.take_opaque()) };
    sending.operation.end(&outcome::of_error(error));
    let headers = match sending.own.take() {
        Some(own) => own.restore(headers),
        None => headers,
    };
    (headers, in_flight.take_opaque())
}
