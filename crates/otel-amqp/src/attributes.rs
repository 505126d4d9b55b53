//! Conversion of exchange, routing key and queue into a destination, and the attributes of a message.
//!
//! Follows the [semantic conventions for
//! RabbitMQ](https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/) 1.44 (in Development). The destination of a
//! producer is `{exchange}:{routing key}`; that of a consumer is `{exchange}:{routing key}:{queue}`, under the queue as its
//! template, because the producer chooses the routing key.

use std::borrow::Cow;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;
use otel_messaging::DestinationDescription;
use otel_messaging::attributes::MessageAttributes;

pub(crate) const SYSTEM: &str = "rabbitmq";

const ROUTING_KEY: &str = "messaging.rabbitmq.destination.routing_key";
const DELIVERY_TAG: &str = "messaging.rabbitmq.message.delivery_tag";
const CONFIRMATION: &str = "messaging.rabbitmq.message.confirmation";
const BLOCKED: &str = "messaging.rabbitmq.connection.blocked";
const REDELIVERED: &str = "messaging.rabbitmq.message.redelivered";
const DEATH_COUNT: &str = "messaging.rabbitmq.message.death_count";
const DEATH_QUEUE: &str = "messaging.rabbitmq.message.first_death_queue";
const MULTIPLE: &str = "messaging.rabbitmq.settle.multiple";
const REQUEUE: &str = "messaging.rabbitmq.settle.requeue";

/// The name of the default exchange, where neither an exchange nor a routing key is given.
const DEFAULT: &str = "amq.default";

/// The prefix of the queues whose names the broker generates, and of their templates.
const GENERATED: &str = "amq.gen";

/// The pseudo-queue of direct replies. The routing key of a reply has a token after it.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// The header in which the broker records why a message was dead-lettered.
const X_DEATH: &str = "x-death";
const X_FIRST_DEATH_QUEUE: &str = "x-first-death-queue";

/// The header of a message that is read from a stream.
const X_STREAM_OFFSET: &str = "x-stream-offset";

/// The template of a name that the broker generates, for one connection alone.
fn temporary(name: &str) -> Option<&'static str> {
    let is_in = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    };
    [REPLY_TO, GENERATED].into_iter().find(|prefix| is_in(prefix))
}

/// The exchange and the routing key of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
}

impl<'a> Address<'a> {
    /// Returns the routing key, or the template of a generated one.
    pub(crate) fn stable_key(self) -> &'a str {
        temporary(self.routing_key).unwrap_or(self.routing_key)
    }

    pub(crate) fn describe(self) -> DestinationDescription<'a> {
        let description = DestinationDescription::new();
        match temporary(self.routing_key) {
            // The name of a message is that of its own queue.
            Some(template) => Self { routing_key: template, ..self }.template(description),
            None => description.with_name(self.name()),
        }
    }

    fn template(self, description: DestinationDescription<'a>) -> DestinationDescription<'a> {
        let anonymous = self.routing_key == GENERATED;
        description.with_template(self.name()).with_temporary(true).with_anonymous(anonymous)
    }

    fn name(self) -> Cow<'a, str> {
        match (self.exchange, self.routing_key) {
            ("", "") => Cow::Borrowed(DEFAULT),
            ("", name) | (name, "") => Cow::Borrowed(name),
            (exchange, key) => Cow::Owned(format!("{exchange}:{key}")),
        }
    }

    /// Returns the name of the destination of a message that was received from this queue.
    fn name_in(self, queue: &str) -> Cow<'a, str> {
        match queue.is_empty() || queue == self.routing_key {
            true => self.name(),
            false if self.exchange.is_empty() && self.routing_key.is_empty() => Cow::Owned(queue.to_owned()),
            false => Cow::Owned(format!("{}:{queue}", self.name())),
        }
    }
}

/// A queue from which messages are received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue<'a>(pub(crate) &'a str);

impl<'a> Queue<'a> {
    /// Returns the name, or the template of a generated one.
    pub(crate) fn stable_name(self) -> &'a str {
        temporary(self.0).unwrap_or(self.0)
    }

    pub(crate) fn describe(self) -> DestinationDescription<'a> {
        let name = self.stable_name();
        if name.is_empty() {
            // The queue that the channel declared last.
            return DestinationDescription::new();
        }
        DestinationDescription::new()
            .with_template(name)
            .with_temporary(temporary(self.0).is_some())
            .with_anonymous(name == GENERATED)
    }
}

/// Adds the attributes of a message that is sent.
pub(crate) fn of_published(
    attributes: &mut MessageAttributes,
    address: Address<'_>,
    properties: &BasicProperties,
    payload: &[u8],
) {
    if temporary(address.routing_key).is_some() {
        attributes.destination_name(&address.name());
    }
    of_message(attributes, address, properties, payload);
}

/// Adds the attributes of a message that was received.
pub(crate) fn of_delivered(
    attributes: &mut MessageAttributes,
    address: Address<'_>,
    queue: &str,
    redelivered: bool,
    properties: &BasicProperties,
    payload: &[u8],
) {
    attributes.destination_name(&address.name_in(queue));
    of_message(attributes, address, properties, payload);
    if redelivered {
        attributes.push(KeyValue::new(REDELIVERED, true));
    }
    if let Some(headers) = properties.headers() {
        let count = death_count(headers);
        if count > 0 {
            attributes.push(KeyValue::new(DEATH_COUNT, count));
        }
        if let Some(AMQPValue::LongString(queue)) = headers.inner().get(X_FIRST_DEATH_QUEUE) {
            attributes.push_bounded(DEATH_QUEUE, &String::from_utf8_lossy(queue.as_bytes()));
        }
    }
}

fn of_message(
    attributes: &mut MessageAttributes,
    address: Address<'_>,
    properties: &BasicProperties,
    payload: &[u8],
) {
    if !address.routing_key.is_empty() {
        attributes.push_bounded(ROUTING_KEY, address.routing_key);
    }
    if let Some(id) = properties.message_id() {
        attributes.message_id(id.as_str());
    }
    if let Some(id) = properties.correlation_id() {
        attributes.conversation_id(id.as_str());
    }
    attributes.body_size(payload.len());
}

/// Returns the number of times that a message was dead-lettered, over all queues and reasons. The table comes from the peer.
fn death_count(headers: &FieldTable) -> i64 {
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get(X_DEATH) else { return 0 };
    let counts = deaths.as_slice().iter().map(|death| match death {
        AMQPValue::FieldTable(death) => match death.inner().get("count") {
            Some(AMQPValue::LongLongInt(count)) => (*count).max(0),
            _ => 0,
        },
        _ => 0,
    });
    counts.fold(0, i64::saturating_add)
}

/// Returns true for a message that was read from a stream, at any time after it was sent.
pub(crate) fn is_from_stream(properties: &BasicProperties) -> bool {
    properties.headers().as_ref().is_some_and(|headers| headers.contains_key(X_STREAM_OFFSET))
}

pub(crate) fn delivery_tag(tag: u64) -> KeyValue {
    KeyValue::new(DELIVERY_TAG, i64::try_from(tag).unwrap_or(i64::MAX))
}

/// Adds the options of a settlement that are not the default.
pub(crate) fn set_settlement(span: &SpanRef<'_>, multiple: bool, requeue: Option<bool>) {
    if multiple {
        span.set_attribute(KeyValue::new(MULTIPLE, true));
    }
    if let Some(requeue) = requeue {
        span.set_attribute(KeyValue::new(REQUEUE, requeue));
    }
}

/// Adds that the broker blocked the connection while a message waited to be sent or confirmed.
pub(crate) fn set_blocked(span: &SpanRef<'_>) {
    span.set_attribute(KeyValue::new(BLOCKED, true));
}

/// Adds the kind of confirmation with which the span of a sent message ends.
pub(crate) fn set_confirmation(span: &SpanRef<'_>, confirmation: &'static str) {
    span.set_attribute(KeyValue::new(CONFIRMATION, confirmation));
}

#[cfg(test)]
mod tests;
