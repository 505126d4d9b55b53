//! The stream of a consumer's messages: receiving them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use async_nats::datetime::DateTime;
use async_nats::jetstream as bare;
use futures_core::Stream;
use otel_messaging::{Acknowledgement, record_receive_error};
use otel_operation::{Outcome, StartTime};

use crate::consumer::RECEIVE;
use crate::jetstream::for_each::LoopSettings;
use crate::jetstream::message::JetStreamMessage;
use crate::nats::ClientInstrumentation;

/// The messages of a [`Consumer`](crate::jetstream::Consumer), or of any stream of async-nats
/// ([`Context::messages`](crate::jetstream::Context::messages)).
#[must_use = "streams do nothing unless polled"]
#[derive(Debug)]
pub struct Messages<S> {
    /// Pinned in memory, so that the stream need not be `Unpin`.
    inner: Pin<Box<S>>,
    nats: ClientInstrumentation,
    consumer: Option<ConsumerFacts>,
    /// The user's choice.
    replayed: Option<bool>,
    pub(crate) loops: LoopSettings,
    /// The start of the wait for the next message, if receiving is recorded as spans.
    wait: Option<StartTime>,
}

/// The facts of a consumer that its messages do not contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsumerFacts {
    pub(crate) created: DateTime,
    /// The server or the client generates the name of a consumer that is not durable.
    pub(crate) is_durable: bool,
}

impl<S> Messages<S> {
    pub(crate) fn new(inner: S, nats: ClientInstrumentation, consumer: Option<ConsumerFacts>) -> Self {
        let (replayed, loops) = (None, LoopSettings::default());
        Self { inner: Box::pin(inner), nats, consumer, replayed, loops, wait: None }
    }

    /// Sets if the messages are replayed: the `process` spans of replayed ones link to their producers and never become
    /// children of them. Default: those that were written before their consumer was created, because the traces of their
    /// producers may have ended long ago; none if the consumer is unknown ([`Context::messages`]). A message that is
    /// delivered again is not replayed.
    ///
    /// [`Context::messages`]: crate::jetstream::Context::messages
    pub fn with_replayed(mut self, replayed: bool) -> Self {
        self.replayed = Some(replayed);
        self
    }

    fn received(&self, inner: bare::Message, wait: Option<StartTime>) -> JetStreamMessage {
        let (destination, older) = match inner.info() {
            Ok(info) => {
                let name =
                    if self.consumer.is_some_and(|facts| facts.is_durable) { info.consumer } else { "" };
                let older = self.consumer.is_some_and(|facts| info.published < facts.created);
                (self.nats.stream(info.stream, name), older)
            }
            Err(_) => (self.nats.destination(&inner.subject, "").0, false),
        };
        JetStreamMessage::received(inner, destination, self.replayed.unwrap_or(older), wait)
    }

    pub(crate) fn acknowledgement(&self) -> Acknowledgement {
        self.nats.messaging().acknowledgement()
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
            Some(Ok(inner)) => Some(Ok(self.received(inner, wait))),
            Some(Err(error)) => {
                record_receive_error(self.nats.messaging(), RECEIVE, wait, &Outcome::error("_OTHER"));
                Some(Err(error))
            }
        })
    }
}
