//! A received message, and the spans of receiving and processing it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": the
//! application starts `process` spans through this type, and they link to the message's creation context.

use std::ops::Deref;

use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, record_received,
    start_processing,
};
use otel_operation::StartTime;
use otel_propagation::HeaderReader;

use crate::attributes::{SubjectKind, of_message};
use crate::carrier::HeaderExtractor;

/// The client's name for receiving.
pub(crate) const RECEIVE: &str = "receive";

/// async-nats' `Message`, to which it dereferences, with methods that record processing.
#[derive(Clone, Debug)]
pub struct Message {
    inner: async_nats::Message,
    destination: Destination,
    kind: SubjectKind,
    carried: CarriedContext,
}

impl Message {
    /// Records a message that the client has delivered.
    pub(crate) fn received(
        inner: async_nats::Message,
        destination: Destination,
        kind: SubjectKind,
        wait: Option<StartTime>,
    ) -> Self {
        let message = Self { inner, destination, kind, carried: CarriedContext::new() };
        record_received(&message, RECEIVE, wait);
        message
    }

    /// Runs `handler` on the message inside a `process` span, whose context is current in the handler. A reply that the
    /// handler publishes belongs to the requester's trace.
    ///
    /// The span ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled` if this future is
    /// dropped, or as `panic` if the handler panics.
    ///
    /// ```
    /// use async_nats::PublishError;
    /// use otel_nats::{Client, Message};
    ///
    /// async fn answer(client: &Client, message: &Message) -> Result<(), PublishError> {
    ///     message
    ///         .process(async |message| match &message.reply {
    ///             Some(reply) => client.publish(reply.clone(), "pong".into()).await,
    ///             None => Ok(()),
    ///         })
    ///         .await
    /// }
    /// ```
    pub async fn process<T: HandlerOutcome>(&self, handler: impl AsyncFnOnce(&Self) -> T) -> T {
        // The handler is called inside the operation, because it may run code before it returns its future.
        self.processing().run(async { handler(self).await }).await
    }

    /// Starts the `process` span of the message, for handlers that are not closures or not async.
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }

    /// Returns the message of async-nats.
    #[must_use]
    pub fn into_inner(self) -> async_nats::Message {
        self.inner
    }
}

impl InboundMessage for Message {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::new(self.inner.headers.as_ref())
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        let async_nats::Message { subject, headers, payload, .. } = &self.inner;
        of_message(attributes, self.kind, subject, headers.as_ref(), payload);
    }
}

impl Deref for Message {
    type Target = async_nats::Message;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl From<Message> for async_nats::Message {
    fn from(message: Message) -> Self {
        message.inner
    }
}
