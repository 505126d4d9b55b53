//! A running messaging operation: its type, the state that it keeps until its end, and the injection of its context
//! into a message.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Operation types".

use std::time::Duration;

use otel_operation::{FinishOnOutput, Operation, OperationObserver, Outcome, catch_panic};
use otel_propagation::HeaderWriter;

use crate::destination::Destination;

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

/// A running operation. It ends exactly once: with the outcome given to `finish`, as `cancelled` when it is dropped,
/// or as `panic` when a panic unwinds out of `inside`. See [`otel_operation::Operation`].
pub type MessagingOperation = Operation<OperationState>;

/// The state that a messaging operation keeps until its end.
#[derive(Debug)]
pub struct OperationState {
    pub(crate) destination: Destination,
    pub(crate) operation: OperationName,
    pub(crate) operation_type: Option<OperationType>,
    pub(crate) messages: u64,
    pub(crate) injects: bool,
}

impl OperationState {
    /// Returns the destination of the operation.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns true if the operation's context has to be written into the message: for `create` and for `send`,
    /// unless the message keeps the context that it carries ([`ExistingContext::Preserve`](crate::ExistingContext)).
    #[must_use]
    pub fn injects(&self) -> bool {
        self.injects
    }
}

impl OperationObserver for OperationState {
    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.destination.measure(self.operation, self.operation_type, self.messages, outcome, elapsed);
    }
}

/// The future returns the operation unfinished with the output, because only the transport knows which outputs are
/// failures.
impl<T> FinishOnOutput<T> for OperationState {
    type Output = (Option<Operation<Self>>, T);

    fn complete(operation: Option<Operation<Self>>, output: T) -> Self::Output {
        (operation, output)
    }
}

/// Writes the operation's context into the headers of its message, in place of the context of an earlier hop; see
/// [`Operation::inject`]. Does nothing if the message keeps its context ([`OperationState::injects`]).
pub fn inject<C: HeaderWriter>(operation: &MessagingOperation, headers: &mut C) {
    let record = operation.observer();
    if record.injects {
        let _ = catch_panic(|| operation.inject(&record.destination.options().propagation, headers));
    }
}
