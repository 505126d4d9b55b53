//! A received message that does not borrow its consumer.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::fmt;
use std::ops::Deref;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, start_processing,
};
use otel_propagation::HeaderReader;
use rdkafka::Message as _;
use rdkafka::message as bare;

use crate::attributes::offset;
use crate::carrier::HeaderExtractor;
use crate::consumer::message::{describe, written_at};

/// rdkafka's `OwnedMessage`, to which it dereferences, with methods that record processing. Returned by
/// [`BorrowedMessage::detach`](crate::BorrowedMessage::detach).
pub struct OwnedMessage {
    inner: bare::OwnedMessage,
    topic: Destination,
    carried: CarriedContext,
}

impl OwnedMessage {
    pub(crate) fn new(inner: bare::OwnedMessage, topic: Destination, carried: CarriedContext) -> Self {
        Self { inner, topic, carried }
    }

    /// Runs `handler` on the message inside a `process` span, as
    /// [`BorrowedMessage::process`](crate::BorrowedMessage::process) does.
    pub async fn process<T: HandlerOutcome>(
        &self,
        handler: impl for<'x> AsyncFnOnce(&'x bare::OwnedMessage) -> T,
    ) -> T {
        self.processing().run(async { handler(&self.inner).await }).await
    }

    /// Starts the `process` span of the message, for handlers that are not closures or not async.
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }

    /// Returns rdkafka's message.
    #[must_use]
    pub fn into_inner(self) -> bare::OwnedMessage {
        self.inner
    }
}

impl InboundMessage for OwnedMessage {
    fn destination(&self) -> &Destination {
        &self.topic
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::from_owned_message(&self.inner)
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        describe(&self.inner, attributes);
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        attributes.extend(offset(self.inner.offset()));
    }

    fn partition(&self) -> Option<i64> {
        Some(i64::from(self.inner.partition()))
    }

    fn written_at(&self) -> Option<SystemTime> {
        written_at(self.inner.timestamp())
    }
}

impl Deref for OwnedMessage {
    type Target = bare::OwnedMessage;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
