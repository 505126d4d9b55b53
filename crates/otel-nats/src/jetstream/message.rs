//! A message of a stream: processing and settling it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::ops::Deref;

use async_nats::Error;
use async_nats::jetstream as bare;
use async_nats::jetstream::AckKind;
use opentelemetry::KeyValue;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, record_received,
    start_processing, start_settling,
};
use otel_operation::StartTime;
use otel_propagation::HeaderReader;

use crate::attributes::{SubjectKind, identify, of_message};
use crate::carrier::HeaderExtractor;
use crate::consumer::RECEIVE;
use crate::nats::ClientInstrumentation;
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
        nats: &ClientInstrumentation,
        replayed: bool,
        wait: Option<StartTime>,
    ) -> Self {
        let destination = match inner.info() {
            Ok(info) => nats.stream(info.stream, info.consumer),
            Err(_) => nats.destination(&inner.subject, "").0,
        };
        let message = Self { inner, destination, carried: CarriedContext::new(), replayed };
        record_received(&message, RECEIVE, wait);
        message
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
