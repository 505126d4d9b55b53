//! The messages of a consumer: receiving, processing and settling them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use async_nats::Error;
use async_nats::jetstream as bare;
use async_nats::jetstream::AckKind;
use futures_core::Stream;
use opentelemetry::KeyValue;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, record_receive_error,
    record_received, start_processing, start_settling,
};
use otel_operation::{Outcome, StartTime};
use otel_propagation::HeaderReader;

use crate::attributes::{SubjectKind, identify, of_message};
use crate::carrier::HeaderExtractor;
use crate::consumer::RECEIVE;
use crate::nats::ClientInstrumentation;
use crate::outcome;

/// The messages of a consumer, as [`Context::messages`](crate::jetstream::Context::messages) returns them.
#[must_use = "streams do nothing unless polled"]
#[derive(Debug)]
pub struct Messages<S> {
    /// Pinned in memory, so that the stream need not be `Unpin`.
    inner: Pin<Box<S>>,
    nats: ClientInstrumentation,
    replayed: bool,
    /// The start of the wait for the next message, if receiving is recorded as spans.
    wait: Option<StartTime>,
}

impl<S> Messages<S> {
    pub(crate) fn new(inner: S, nats: ClientInstrumentation) -> Self {
        Self { inner: Box::pin(inner), nats, replayed: false, wait: None }
    }

    /// Marks the messages as old, such as those of a consumer that replays a stream: their `process` spans link to their
    /// producers and never become children of them. Default: false.
    pub fn with_replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }
}

impl<S, E> Stream for Messages<S>
where
    S: Stream<Item = Result<bare::Message, E>>,
{
    type Item = Result<JetStreamMessage, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.wait.is_none() {
            self.wait = self.nats.messaging().receive_start();
        }
        let received = ready!(self.inner.as_mut().poll_next(cx));
        let wait = self.wait.take();
        Poll::Ready(match received {
            None => None,
            Some(Ok(inner)) => Some(Ok(JetStreamMessage::received(inner, &self.nats, self.replayed, wait))),
            Some(Err(error)) => {
                record_receive_error(self.nats.messaging(), RECEIVE, wait, &Outcome::error("_OTHER"));
                Some(Err(error))
            }
        })
    }
}

/// async-nats' `jetstream::Message`, to which it dereferences, with methods that record processing and settlement.
#[derive(Clone, Debug)]
pub struct JetStreamMessage {
    inner: bare::Message,
    destination: Destination,
    carried: CarriedContext,
    replayed: bool,
}

impl JetStreamMessage {
    fn received(
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
