//! Conversion of a subject into a destination, and the attributes of a message.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) 1.44 (in Development), which have
//! no page on NATS. The destination is the subject, its template the pattern of the subscription.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use otel_messaging::DestinationDescription;
use otel_messaging::attributes::MessageAttributes;

pub(crate) const SYSTEM: &str = "nats";

/// The template of the subjects to which replies are sent, and their usual prefix.
pub(crate) const INBOX: &str = "_INBOX";

/// The prefix of the subjects to which acknowledgements of messages of JetStream are sent.
const ACK: &str = "$JS.ACK.";

/// The subject of a message, or the pattern of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubjectKind {
    /// One subject, which names the destination.
    Named,
    /// A pattern: each message has a subject of its own.
    Pattern,
    /// A temporary subject for replies, of which each client makes many.
    Inbox,
}

impl SubjectKind {
    /// Returns the kind. `inbox_prefix` is that of the client.
    pub(crate) fn new(subject: &str, inbox_prefix: &str) -> Self {
        let is_own = subject.strip_prefix(inbox_prefix).is_some_and(|rest| rest.starts_with('.'));
        // Other clients have prefixes of their own, such as `_INBOX_alice`.
        if is_own || subject.starts_with(INBOX) || subject.starts_with(ACK) {
            return Self::Inbox;
        }
        let is_wildcard = |token: &str| matches!(token, "*" | ">");
        match subject.split('.').any(is_wildcard) {
            true => Self::Pattern,
            false => Self::Named,
        }
    }

    pub(crate) fn describe(self, subject: &str) -> DestinationDescription<'_> {
        let description = DestinationDescription::new();
        match self {
            Self::Named => description.with_name(subject),
            Self::Pattern => description.with_template(subject),
            Self::Inbox => description.with_template(INBOX).with_temporary(true),
        }
    }
}

/// Adds the attributes of a message that is sent or received.
pub(crate) fn of_message(
    attributes: &mut MessageAttributes,
    kind: SubjectKind,
    subject: &str,
    headers: Option<&HeaderMap>,
    payload: &[u8],
) {
    if kind != SubjectKind::Named {
        attributes.destination_name(subject);
    }
    if let Some(id) = headers.and_then(|headers| headers.get(NATS_MESSAGE_ID)) {
        attributes.message_id(id.as_str());
    }
    attributes.body_size(payload.len());
}

#[cfg(feature = "jetstream")]
pub(crate) use stored::{identify, set_ack};

/// Adds the name of an object, which its subject has encoded.
#[cfg(feature = "object-store")]
pub(crate) fn set_object(attributes: &mut MessageAttributes, name: &str) {
    attributes.push_bounded("messaging.nats.object.name", name);
}

/// The attributes of messages in a stream.
#[cfg(feature = "jetstream")]
mod stored {
    use async_nats::jetstream::message::Info;
    use async_nats::jetstream::publish::PublishAck;
    use opentelemetry::KeyValue;
    use opentelemetry::trace::SpanRef;
    use otel_messaging::attributes::bounded;

    const STREAM: &str = "messaging.nats.stream.name";
    const SEQUENCE: &str = "messaging.nats.stream.sequence";
    const DELIVERED: &str = "messaging.nats.message.delivery_count";
    const DUPLICATE: &str = "messaging.nats.message.duplicate";

    fn sequence(sequence: u64) -> KeyValue {
        KeyValue::new(SEQUENCE, i64::try_from(sequence).unwrap_or(i64::MAX))
    }

    /// Sets the place of a message that the server has acknowledged.
    pub(crate) fn set_ack(span: &SpanRef<'_>, ack: &PublishAck) {
        span.set_attribute(KeyValue::new(STREAM, bounded(&ack.stream).to_owned()));
        span.set_attribute(sequence(ack.sequence));
        if ack.duplicate {
            span.set_attribute(KeyValue::new(DUPLICATE, true));
        }
    }

    /// Adds the place of a received message, and the number of its deliveries.
    pub(crate) fn identify(attributes: &mut Vec<KeyValue>, info: &Info<'_>) {
        attributes.push(KeyValue::new(STREAM, bounded(info.stream).to_owned()));
        attributes.push(sequence(info.stream_sequence));
        attributes.push(KeyValue::new(DELIVERED, info.delivered));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_name_a_pattern_or_an_inbox() {
        for (subject, kind) in [
            ("orders.created", SubjectKind::Named),
            ("orders.*", SubjectKind::Pattern),
            ("*.created", SubjectKind::Pattern),
            ("orders.>", SubjectKind::Pattern),
            (">", SubjectKind::Pattern),
            ("orders.a*", SubjectKind::Named),
            ("", SubjectKind::Named),
            ("_INBOX.abc", SubjectKind::Inbox),
            ("_INBOX.abc.*", SubjectKind::Inbox),
            ("_INBOX", SubjectKind::Inbox),
            ("_INBOXES", SubjectKind::Inbox),
            ("_INBOX_alice.abc", SubjectKind::Inbox),
            ("orders._INBOX", SubjectKind::Named),
            ("$JS.ACK.ORDERS.till.1.1.1.1.0", SubjectKind::Inbox),
            ("$JS.API.INFO", SubjectKind::Named),
            ("replies.till.abc", SubjectKind::Inbox),
            ("replies.other", SubjectKind::Named),
        ] {
            assert_eq!(SubjectKind::new(subject, "replies.till"), kind, "{subject}");
        }
    }
}
