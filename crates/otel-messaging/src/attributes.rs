//! Names of the messaging attributes, span names, and [`MessageAttributes`], through which a transport adds the
//! attributes of one message.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) 1.44 (in Development): "Span
//! name", "Messaging attributes". The names are defined here because the published
//! `opentelemetry-semantic-conventions` crate is at schema 1.42.

use std::borrow::Cow;

use opentelemetry::{KeyValue, StringValue, Value};

/// The schema URL of these attributes, for the instrumentation scopes of the transports.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The number of messages in one call of a batch API.
pub const BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// The number of messages of a batch that have no link because they exceed [`MAX_LINKS`](crate::MAX_LINKS). Defined
/// by this crate, not by the conventions.
pub const BATCH_LINKS_LEFT_OUT: &str = "messaging.batch.links_left_out";
/// The id of the client.
pub const CLIENT_ID: &str = "messaging.client.id";
/// The name of the consumer group.
pub const CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// True if the destination is anonymous, that is, if the broker generated its name.
pub const DESTINATION_ANONYMOUS: &str = "messaging.destination.anonymous";
/// The name of the destination.
pub const DESTINATION_NAME: &str = "messaging.destination.name";
/// The partition of the destination.
pub const DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
/// The subscription through which the messages were received.
pub const DESTINATION_SUBSCRIPTION_NAME: &str = "messaging.destination.subscription.name";
/// The low-cardinality pattern that the destination's name matches.
pub const DESTINATION_TEMPLATE: &str = "messaging.destination.template";
/// True if the destination is deleted when its user disconnects.
pub const DESTINATION_TEMPORARY: &str = "messaging.destination.temporary";
/// The age of a message when its processing starts, in seconds. Defined by this crate, not by the conventions.
pub const MESSAGE_AGE: &str = "messaging.message.age";
/// The size of the message body, in bytes.
pub const MESSAGE_BODY_SIZE: &str = "messaging.message.body.size";
/// The conversation id of the message, also called its correlation id.
pub const MESSAGE_CONVERSATION_ID: &str = "messaging.message.conversation_id";
/// The size of the message body and metadata, in bytes.
pub const MESSAGE_ENVELOPE_SIZE: &str = "messaging.message.envelope.size";
/// The id of the message.
pub const MESSAGE_ID: &str = "messaging.message.id";
/// The broker's name for the operation.
pub const OPERATION_NAME: &str = "messaging.operation.name";
/// The type of the operation, one of the five values of [`OperationType`](crate::OperationType).
pub const OPERATION_TYPE: &str = "messaging.operation.type";
/// The network address of the peer.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// The port of the peer.
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
/// The address of the broker.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port of the broker.
pub const SERVER_PORT: &str = "server.port";
/// The messaging system, such as `kafka`.
pub const SYSTEM: &str = "messaging.system";

/// The maximum length of a recorded name, id or template, in bytes. All of them may come from an untrusted peer.
const LONGEST: usize = 512;

/// Truncates an attribute value to at most 512 bytes, at a character boundary. Names, ids and keys may come from an
/// untrusted peer.
#[must_use]
pub fn bounded(text: &str) -> &str {
    if text.len() <= LONGEST {
        return text;
    }
    // The search always succeeds because index 0 is a character boundary.
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    &text[..end]
}

/// Returns `messaging.destination.partition.id`, or `None` for a negative number, which clients use for an unknown
/// partition.
#[must_use]
pub fn partition_id(partition: i64) -> Option<KeyValue> {
    let partition = usize::try_from(partition).ok()?;
    Some(match PARTITIONS.get(partition) {
        Some(partition) => KeyValue::new(DESTINATION_PARTITION_ID, *partition),
        None => KeyValue::new(DESTINATION_PARTITION_ID, partition.to_string()),
    })
}

/// The ids of the first partitions as static strings, so that recording one of them does not allocate.
const PARTITIONS: [&str; 32] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31",
];

/// Returns the value that all items share, for the span of a batch. Values that differ belong on the links.
pub fn common_value<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values = values.into_iter();
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Returns `{operation} {target}`, or the operation alone if there is no target.
pub(crate) fn span_name(operation: &'static str, target: Option<&str>) -> Cow<'static, str> {
    match target {
        Some(target) => otel_operation::intern(&format!("{operation} {}", bounded(target))),
        None => Cow::Borrowed(operation),
    }
}

/// The attributes of one operation's span. A transport adds the attributes of the message to them.
///
/// Texts are truncated to 512 bytes. Sizes are recorded only with
/// [`Options::with_message_sizes`](crate::Options::with_message_sizes).
#[derive(Debug)]
pub struct MessageAttributes {
    pub(crate) list: Vec<KeyValue>,
    pub(crate) sizes: bool,
}

impl MessageAttributes {
    /// Adds a transport-specific attribute.
    pub fn push(&mut self, attribute: KeyValue) -> &mut Self {
        self.list.push(attribute);
        self
    }

    /// Adds a transport-specific attribute whose value may come from an untrusted peer, truncated to 512 bytes.
    pub fn push_bounded(&mut self, key: &'static str, value: &str) -> &mut Self {
        self.push(KeyValue::new(key, bounded(value).to_owned()))
    }

    /// Sets the name of this message's destination, for a destination that was prepared from its template. Replaces
    /// the name that the destination was prepared with, if any.
    pub fn destination_name(&mut self, name: &str) -> &mut Self {
        self.list.retain(|attribute| attribute.key.as_str() != DESTINATION_NAME);
        self.push_bounded(DESTINATION_NAME, name)
    }

    /// Adds the partition, unless it is negative.
    pub fn partition_id(&mut self, partition: i64) -> &mut Self {
        self.list.extend(partition_id(partition));
        self
    }

    /// Adds the id of the message.
    pub fn message_id(&mut self, id: &str) -> &mut Self {
        self.push_bounded(MESSAGE_ID, id)
    }

    /// Adds the conversation id of the message, also called its correlation id.
    pub fn conversation_id(&mut self, id: &str) -> &mut Self {
        self.push_bounded(MESSAGE_CONVERSATION_ID, id)
    }

    /// Adds the size of the message body in bytes, if sizes are recorded.
    pub fn body_size(&mut self, bytes: usize) -> &mut Self {
        self.size(MESSAGE_BODY_SIZE, bytes)
    }

    /// Adds the size of the message body and metadata in bytes, if sizes are recorded.
    pub fn envelope_size(&mut self, bytes: usize) -> &mut Self {
        self.size(MESSAGE_ENVELOPE_SIZE, bytes)
    }

    /// Adds the network address and the port of the peer.
    pub fn peer(&mut self, address: impl Into<StringValue>, port: Option<u16>) -> &mut Self {
        self.list.push(KeyValue::new(NETWORK_PEER_ADDRESS, Value::String(address.into())));
        self.list.extend(port.map(|port| KeyValue::new(NETWORK_PEER_PORT, i64::from(port))));
        self
    }

    fn size(&mut self, key: &'static str, bytes: usize) -> &mut Self {
        if self.sizes {
            self.list.push(KeyValue::new(key, i64::try_from(bytes).unwrap_or(i64::MAX)));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_named_after_its_operation_and_its_target() {
        assert_eq!(span_name("send", Some("orders")), "send orders");
        assert_eq!(span_name("commit", None), "commit");
        assert_eq!(span_name("send", Some(&"x".repeat(2000))).len(), "send ".len() + 512);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        let text = "a".repeat(511) + "öö";
        assert_eq!(bounded(&text), "a".repeat(511));
    }

    #[test]
    fn a_partition_that_is_not_known_is_left_out() {
        assert_eq!(partition_id(0), Some(KeyValue::new(DESTINATION_PARTITION_ID, "0")));
        for partition in [31, 32, i64::MAX] {
            let expected = KeyValue::new(DESTINATION_PARTITION_ID, partition.to_string());
            assert_eq!(partition_id(partition), Some(expected));
        }
        assert_eq!(partition_id(-1), None);
        assert_eq!(partition_id(i64::from(i32::MIN)), None);
    }

    #[test]
    fn only_what_is_equal_is_common() {
        assert_eq!(common_value(["a", "a"]), Some("a"));
        assert_eq!(common_value(["a", "b"]), None);
        assert_eq!(common_value(Vec::<u8>::new()), None);
    }

    #[test]
    fn sizes_are_recorded_where_they_are_wanted() {
        for (sizes, count) in [(false, 0), (true, 2)] {
            let mut attributes = MessageAttributes { list: Vec::new(), sizes };
            attributes.body_size(1).envelope_size(usize::MAX);
            assert_eq!(attributes.list.len(), count);
        }
    }
}
