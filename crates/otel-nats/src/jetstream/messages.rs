//! The stream of a consumer's messages: receiving them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use async_nats::jetstream as bare;
use futures_core::Stream;
use otel_messaging::record_receive_error;
use otel_operation::{Outcome, StartTime};

use crate::consumer::RECEIVE;
use crate::jetstream::message::JetStreamMessage;
use crate::nats::ClientInstrumentation;

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
