//! A messaging operation while it runs: its type, what it keeps until its end, and its context on the way into a
//! message.
//!
//! Follows the messaging semantic conventions, "Operation types".

use std::time::Duration;

use otel_operation::{Complete, Operation, Outcome, Record};
use otel_propagation::HeaderWriter;

use crate::destination::Destination;

/// The operation types of the conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationType {
    /// One message of a batch is made.
    Create,
    /// Messages are handed to the broker.
    Send,
    /// Messages are taken from the broker.
    Receive,
    /// Messages are handled.
    Process,
    /// Messages are acknowledged, rejected, committed.
    Settle,
}

impl OperationType {
    /// The value of `messaging.operation.type`.
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

/// What the broker calls an operation. The names are constants, so that most comparisons end at the address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationName(pub(crate) &'static str);

impl PartialEq for OperationName {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0 == other.0
    }
}

/// A running operation. It is finished exactly once: by `finish`, or as cancelled when it is dropped, or as panicked
/// when a panic unwinds through its owner. See [`otel_operation::Operation`].
pub type MessagingOperation = Operation<MessagingRecord>;

/// What a messaging operation keeps until its end.
#[derive(Debug)]
pub struct MessagingRecord {
    pub(crate) destination: Destination,
    pub(crate) operation: OperationName,
    pub(crate) operation_type: Option<OperationType>,
    pub(crate) messages: u64,
    pub(crate) injects: bool,
}

impl MessagingRecord {
    /// Where the messages go or come from.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Whether the operation's context belongs into the message. It does not where the message keeps the one that it
    /// has ([`ExistingContext::Preserve`](crate::ExistingContext)), and where nothing is sent.
    #[must_use]
    pub fn injects(&self) -> bool {
        self.injects
    }
}

impl Record for MessagingRecord {
    #[inline]
    fn measure(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.destination.measure(self.operation, self.operation_type, self.messages, outcome, elapsed);
    }
}

/// The future's output comes together with the operation, still to be finished: what in an output is a failure is
/// the transport's knowledge.
impl<T> Complete<T> for MessagingRecord {
    type Output = (Option<Operation<Self>>, T);

    fn complete(operation: Option<Operation<Self>>, output: T) -> Self::Output {
        (operation, output)
    }
}

/// Writes the operation's context into the headers of its message, in place of the context of an earlier hop; see
/// [`Operation::inject`]. Does nothing where the message keeps its context ([`MessagingRecord::injects`]).
pub fn inject<C: HeaderWriter>(operation: &MessagingOperation, headers: &mut C) {
    let record = operation.record();
    if record.injects {
        operation.inject(&record.destination.options().propagation, headers);
    }
}
