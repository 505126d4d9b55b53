//! Destinations, on which operations are built.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Operation types".

use std::fmt;
use std::sync::Arc;

use opentelemetry::KeyValue;

use crate::operation_builder::OperationBuilder;
use crate::operation_type::{OperationName, OperationType};
use crate::prepared::PreparedDestination;

/// A topic, queue or subject of one client, with its names, attributes and metrics prepared. Cloning is cheap.
///
/// The methods build operations on the destination. `operation` is the broker's name for the operation
/// (`messaging.operation.name`): `send`, `publish`, `poll`, `commit`, `ack` …
#[derive(Clone)]
pub struct Destination(pub(crate) Arc<PreparedDestination>);

impl Destination {
    /// Builds a `create` operation for one message of a batch. Its context goes into the message instead of the
    /// `send` span's.
    #[must_use]
    #[inline]
    pub fn create(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(&self.0, operation, Some(OperationType::Create))
    }

    /// Builds a `send` operation for one message or a batch. Finish it when the broker has confirmed or rejected the
    /// messages.
    #[must_use]
    #[inline]
    pub fn send(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(&self.0, operation, Some(OperationType::Send))
    }

    /// Builds a `send` operation that lasts until the reply has arrived. Its context is injected, as that of a `send`,
    /// but its span has kind CLIENT.
    #[must_use]
    #[inline]
    pub fn request(&self, operation: &'static str) -> OperationBuilder<'_> {
        self.send(operation).awaiting_reply()
    }

    /// Builds a `receive` operation, which also counts its messages as consumed. Start it when the messages have
    /// arrived, with the time at which the wait began ([`OperationBuilder::with_started`]), so that a wait without messages
    /// creates no span and the span can link to the messages.
    #[must_use]
    #[inline]
    pub fn receive(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(&self.0, operation, Some(OperationType::Receive))
    }

    /// Builds a `process` operation for one message or a batch.
    #[must_use]
    #[inline]
    pub fn process(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(&self.0, operation, Some(OperationType::Process))
    }

    /// Builds a `settle` operation: an acknowledgement, a rejection or a commit.
    #[must_use]
    #[inline]
    pub fn settle(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(&self.0, operation, Some(OperationType::Settle))
    }

    /// Builds an operation that has none of the five types, such as one of a transaction. Its span has kind CLIENT
    /// and no `messaging.operation.type`.
    #[must_use]
    #[inline]
    pub fn custom(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(&self.0, operation, None)
    }

    /// Counts messages that were delivered without a `receive` operation. Call it once per delivery, even if the
    /// messages are never processed.
    pub fn count_consumed(&self, operation: &'static str, messages: u64) {
        self.0.count_consumed(OperationName(operation), messages);
    }

    /// Returns the attributes that all metrics of this destination share.
    #[must_use]
    pub fn metric_attributes(&self) -> &[KeyValue] {
        self.0.metric_attributes()
    }

    /// Returns false if the client's filter excludes this destination from recording.
    #[must_use]
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.0.recorded
    }

    /// Returns true if both are the same destination of one client.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.attributes == other.0.attributes
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("target", &self.0.target)
            .field("recorded", &self.0.recorded)
            .finish_non_exhaustive()
    }
}
