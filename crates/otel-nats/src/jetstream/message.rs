//! A message of a stream: processing and settling it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::ops::Deref;
use std::time::SystemTime;

use async_nats::Error;
use async_nats::datetime::from_nanos;
use async_nats::jetstream as bare;
use async_nats::jetstream::AckKind;
use bytes::Bytes;
use opentelemetry::KeyValue;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, carried_context,
    record_received, start_processing, start_settling,
};
use otel_operation::StartTime;
use otel_propagation::HeaderReader;

use crate::attributes::{SubjectKind, identify, of_message};
use crate::carrier::HeaderExtractor;
use crate::consumer::RECEIVE;
use crate::outcome;

/// async-nats' `jetstream::Message`, to which it dereferences, with methods that record processing and settlement.
#[derive(Clone, Debug)]
pub struct JetStreamMessage {
    inner: bare::Message,
    destination: Destination,
    carried: CarriedContext,
    replayed: bool,
}

impl JetStreamMessage {
    pub(crate) fn received(
        inner: bare::Message,
        destination: Destination,
        replayed: bool,
        wait: Option<StartTime>,
    ) -> Self {
        let message = Self { inner, destination, carried: CarriedContext::new(), replayed };
        record_received(&message, RECEIVE, wait);
        message
    }

    /// Returns the message without payload and headers, for its settlement.
    pub(crate) fn without_content(&self) -> Self {
        // The link of the settlement needs the context, which is in the headers.
        carried_context(self);
        let async_nats::Message { subject, reply, length, .. } = &self.inner.message;
        let message = async_nats::Message {
            subject: subject.clone(),
            reply: reply.clone(),
            payload: Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: *length,
        };
        Self {
            inner: bare::Message { message, context: self.inner.context.clone() },
            destination: self.destination.clone(),
            carried: self.carried.clone(),
            replayed: self.replayed,
        }
    }

    /// Returns the message of async-nats.
    #[must_use]
    pub fn into_inner(self) -> bare::Message {
        self.inner
    }

    /// Runs `handler` on the message inside a `process` span, whose context is current in the handler.
    ///
    /// The span ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled` if this future is
    /// dropped, or as `panic` if the handler panics. Settling the message is a span of its own.
    pub async fn process<T: HandlerOutcome>(&self, handler: impl AsyncFnOnce(&Self) -> T) -> T {
        self.processing().run(async { handler(self).await }).await
    }

    /// Starts the `process` span of the message, for handlers that are not closures or not async.
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }

    /// Acknowledges the message, inside an `ack` span.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn ack(&self) -> Result<(), Error> {
        self.ack_with(AckKind::Ack).await
    }

    /// Settles the message, inside a span with the name of the kind: `ack`, `nak`, `progress`, `next` or `term`.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn ack_with(&self, kind: AckKind) -> Result<(), Error> {
        let settle = start_settling(self, name(kind));
        settle.run_with(self.inner.ack_with(kind), outcome::of_settlement).await
    }

    /// Acknowledges the message and waits until the server has confirmed it, inside an `ack` span.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn double_ack(&self) -> Result<(), Error> {
        self.double_ack_with(AckKind::Ack).await
    }

    /// Settles the message and waits until the server has confirmed it, as [`ack_with`](Self::ack_with) does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn double_ack_with(&self, kind: AckKind) -> Result<(), Error> {
        let settle = start_settling(self, name(kind));
        settle.run_with(self.inner.double_ack_with(kind), outcome::of_settlement).await
    }
}

fn name(kind: AckKind) -> &'static str {
    match kind {
        AckKind::Ack => "ack",
        AckKind::Nak(_) => "nak",
        AckKind::Progress => "progress",
        AckKind::Next => "next",
        AckKind::Term => "term",
    }
}

impl InboundMessage for JetStreamMessage {
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
        let async_nats::Message { subject, headers, payload, .. } = &self.inner.message;
        of_message(attributes, SubjectKind::Pattern, subject, headers.as_ref(), payload);
        let mut place = Vec::new();
        self.identify(&mut place);
        for attribute in place {
            attributes.push(attribute);
        }
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        if let Ok(info) = self.inner.info() {
            identify(attributes, &info);
        }
    }

    fn written_at(&self) -> Option<SystemTime> {
        // The type is one of `time` or of `chrono`, as async-nats' features choose; both convert.
        let (published, epoch) = (self.inner.info().ok()?.published, from_nanos(0).ok()?);
        // Not every platform has earlier times.
        (published >= epoch).then(|| published.into())
    }

    fn is_replayed(&self) -> bool {
        self.replayed
    }
}

impl Deref for JetStreamMessage {
    type Target = bare::Message;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl From<JetStreamMessage> for bare::Message {
    fn from(message: JetStreamMessage) -> Self {
        message.inner
    }
}
