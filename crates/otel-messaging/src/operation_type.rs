//! The types of operations, and the broker's names for them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Operation types".

/// The operation types of the semantic conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationType {
    /// The creation of one message of a batch.
    Create,
    /// The hand-over of messages to the broker.
    Send,
    /// The retrieval of messages from the broker.
    Receive,
    /// The handling of messages.
    Process,
    /// The acknowledgement, rejection or commit of messages.
    Settle,
}

impl OperationType {
    /// Returns the value of `messaging.operation.type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Process => "process",
            Self::Settle => "settle",
        }
    }
}

/// The broker's name for an operation. Names are usually the same constants, so the pointer comparison decides most
/// lookups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationName(pub(crate) &'static str);

impl PartialEq for OperationName {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0 == other.0
    }
}
