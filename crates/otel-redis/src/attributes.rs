//! The names of attributes, and the conversion of texts into them.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/) 1.44, and for streams
//! the [messaging semantic conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) 1.44 (in
//! Development).

use opentelemetry::KeyValue;
use otel_database::attributes::{OperationAttributes, QUERY_TEXT, STORED_PROCEDURE_NAME};

/// The value of `db.system.name` and of `messaging.system`.
pub(crate) const SYSTEM: &str = "redis";

/// Adds the text of a command or a pipeline, truncated to this number of bytes.
pub(crate) fn push_text(attributes: &mut OperationAttributes, mut text: String, limit: usize) {
    if text.len() > limit {
        // The search always succeeds because index 0 is a character boundary.
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
    attributes.push(KeyValue::new(QUERY_TEXT, text));
}

/// Adds the digest of a script. It is not in names and on metrics, because an application may generate scripts.
pub(crate) fn push_script(attributes: &mut OperationAttributes, digest: &str) {
    attributes.push(KeyValue::new(STORED_PROCEDURE_NAME, digest.to_owned()));
}

/// The mark of a transaction that was not executed, because a watched key was changed.
pub(crate) fn aborted() -> KeyValue {
    KeyValue::new("db.redis.transaction.aborted", true)
}

#[cfg(feature = "streams")]
pub(crate) use entries::{message_id, redelivered};

/// The attributes of messages in streams.
#[cfg(feature = "streams")]
mod entries {
    use opentelemetry::KeyValue;
    use otel_messaging::attributes::{MESSAGE_ID, bounded};

    /// The id of an entry. An application may choose it.
    pub(crate) fn message_id(id: &str) -> KeyValue {
        KeyValue::new(MESSAGE_ID, bounded(id).to_owned())
    }

    /// The mark of an entry that was delivered before.
    pub(crate) fn redelivered() -> KeyValue {
        KeyValue::new("messaging.redis.message.redelivered", true)
    }
}
