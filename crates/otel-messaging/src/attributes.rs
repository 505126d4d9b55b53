//! The names of the messaging attributes, span names, and the writer by which transports add what they know of one
//! message.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) 1.44 (in Development): "Span
//! name", "Messaging attributes". The names are constants of our own: the published crate is at schema 1.42.

use std::borrow::Cow;

use opentelemetry::{KeyValue, StringValue, Value};

/// The schema that the attributes follow, for the transports' instrumentation scopes.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// How many messages one call of a batch API was about.
pub const BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// How many messages of a batch were not linked, since there were too many. Not of the conventions.
pub const BATCH_LINKS_LEFT_OUT: &str = "messaging.batch.links_left_out";
/// What the client calls itself.
pub const CLIENT_ID: &str = "messaging.client.id";
/// The group of consumers that share the messages.
pub const CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// Whether the destination is anonymous: its name was made by the broker.
pub const DESTINATION_ANONYMOUS: &str = "messaging.destination.anonymous";
/// The destination's name.
pub const DESTINATION_NAME: &str = "messaging.destination.name";
/// The partition of the destination.
pub const DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
/// The subscription by which the messages came.
pub const DESTINATION_SUBSCRIPTION_NAME: &str = "messaging.destination.subscription.name";
/// The pattern that names of this kind have in common, of low cardinality.
pub const DESTINATION_TEMPLATE: &str = "messaging.destination.template";
/// Whether the destination goes away with its user.
pub const DESTINATION_TEMPORARY: &str = "messaging.destination.temporary";
/// The size of the message's body, in bytes.
pub const MESSAGE_BODY_SIZE: &str = "messaging.message.body.size";
/// What the message belongs to, also called its correlation id.
pub const MESSAGE_CONVERSATION_ID: &str = "messaging.message.conversation_id";
/// The size of the body together with the message's other parts, in bytes.
pub const MESSAGE_ENVELOPE_SIZE: &str = "messaging.message.envelope.size";
/// The message's id.
pub const MESSAGE_ID: &str = "messaging.message.id";
/// What the broker calls the operation.
pub const OPERATION_NAME: &str = "messaging.operation.name";
/// One of the five types of the conventions.
pub const OPERATION_TYPE: &str = "messaging.operation.type";
/// The address of the peer's socket.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// The port of the peer's socket.
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
/// The broker's address.
pub const SERVER_ADDRESS: &str = "server.address";
/// The broker's port.
pub const SERVER_PORT: &str = "server.port";
/// The broker's product.
pub const SYSTEM: &str = "messaging.system";

/// The longest name, id or pattern that is recorded, in bytes. All of them may come from strangers.
const LONGEST: usize = 512;

/// A text as an attribute's value, cut at 512 bytes: names, ids and keys may come from strangers.
#[must_use]
pub fn bounded(text: &str) -> &str {
    if text.len() <= LONGEST {
        return text;
    }
    // Index 0 is always a boundary, so that one is found.
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    &text[..end]
}

/// `messaging.destination.partition.id`; `None` for the negative numbers by which clients say that they do not know.
#[must_use]
pub fn partition_id(partition: i64) -> Option<KeyValue> {
    let partition = usize::try_from(partition).ok()?;
    Some(match PARTITIONS.get(partition) {
        Some(partition) => KeyValue::new(DESTINATION_PARTITION_ID, *partition),
        None => KeyValue::new(DESTINATION_PARTITION_ID, partition.to_string()),
    })
}

/// The ids of the first partitions, which are most of them: without an allocation a message.
const PARTITIONS: [&str; 32] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31",
];

/// The value that all have in common, for the span of a batch; what differs goes on the links.
pub fn common<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values = values.into_iter();
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// `{operation} {target}`, or the operation alone.
pub(crate) fn span_name(operation: &'static str, target: Option<&str>) -> Cow<'static, str> {
    match target {
        Some(target) => otel_operation::intern(&format!("{operation} {}", bounded(target))),
        None => Cow::Borrowed(operation),
    }
}

/// The attributes of one operation's span, to which a transport adds what it knows of the message.
///
/// Texts are cut at 512 bytes. Sizes are left out unless they were asked for
/// ([`Options::with_message_sizes`](crate::Options::with_message_sizes)).
#[derive(Debug)]
pub struct SpanAttributes {
    pub(crate) list: Vec<KeyValue>,
    pub(crate) sizes: bool,
}

impl SpanAttributes {
    /// Adds an attribute of the transport's own.
    pub fn push(&mut self, attribute: KeyValue) -> &mut Self {
        self.list.push(attribute);
        self
    }

    /// Adds an attribute of the transport's own whose value may come from strangers.
    pub fn push_bounded(&mut self, key: &'static str, value: &str) -> &mut Self {
        self.push(KeyValue::new(key, bounded(value).to_owned()))
    }

    /// The name of this message's destination, where the destination was prepared by its template alone. It takes the
    /// place of a name that the destination was prepared with.
    pub fn destination_name(&mut self, name: &str) -> &mut Self {
        self.list.retain(|attribute| attribute.key.as_str() != DESTINATION_NAME);
        self.push_bounded(DESTINATION_NAME, name)
    }

    /// The partition; negative numbers are left out.
    pub fn partition_id(&mut self, partition: i64) -> &mut Self {
        self.list.extend(partition_id(partition));
        self
    }

    /// The message's id.
    pub fn message_id(&mut self, id: &str) -> &mut Self {
        self.push_bounded(MESSAGE_ID, id)
    }

    /// What the message belongs to, also called its correlation id.
    pub fn conversation_id(&mut self, id: &str) -> &mut Self {
        self.push_bounded(MESSAGE_CONVERSATION_ID, id)
    }

    /// The size of the body in bytes, if sizes are wanted.
    pub fn body_size(&mut self, bytes: usize) -> &mut Self {
        self.size(MESSAGE_BODY_SIZE, bytes)
    }

    /// The size of the whole message in bytes, if sizes are wanted.
    pub fn envelope_size(&mut self, bytes: usize) -> &mut Self {
        self.size(MESSAGE_ENVELOPE_SIZE, bytes)
    }

    /// The peer's socket.
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
        assert_eq!(common(["a", "a"]), Some("a"));
        assert_eq!(common(["a", "b"]), None);
        assert_eq!(common(Vec::<u8>::new()), None);
    }

    #[test]
    fn sizes_are_recorded_where_they_are_wanted() {
        for (sizes, count) in [(false, 0), (true, 2)] {
            let mut attributes = SpanAttributes { list: Vec::new(), sizes };
            attributes.body_size(1).envelope_size(usize::MAX);
            assert_eq!(attributes.list.len(), count);
        }
    }
}
