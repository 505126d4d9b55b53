//! The inbound side of the client: subscriptions, which count received messages, and the messages themselves.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

mod message;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use async_nats::subject::ToSubject;
use async_nats::{SubscribeError, UnsubscribeError};
use futures_core::Stream;
use futures_util::StreamExt as _;
use otel_messaging::{Destination, HandlerOutcome, Lanes, NoSettlement, OpenGate};
use otel_operation::StartTime;

use crate::attributes::SubjectKind;
use crate::client::Client;
use crate::nats::ClientInstrumentation;

pub use crate::consumer::message::Message;
#[cfg(any(feature = "jetstream", feature = "service"))]
pub(crate) use crate::consumer::message::RECEIVE;

impl Client {
    /// Subscribes to a subject, which may have wildcards.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn subscribe<S: ToSubject>(&self, subject: S) -> Result<Subscriber, SubscribeError> {
        let subject = subject.to_subject();
        let (destination, kind) = self.nats.destination(&subject, "");
        let inner = self.inner.subscribe(subject).await?;
        Ok(Subscriber { inner, nats: self.nats.clone(), destination, kind, wait: None })
    }

    /// Subscribes to a subject as a member of a queue group: each message goes to one member. The group is recorded as
    /// `messaging.consumer.group.name`.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn queue_subscribe<S: ToSubject>(
        &self,
        subject: S,
        queue_group: String,
    ) -> Result<Subscriber, SubscribeError> {
        let subject = subject.to_subject();
        let (destination, kind) = self.nats.destination(&subject, &queue_group);
        let inner = self.inner.queue_subscribe(subject, queue_group).await?;
        Ok(Subscriber { inner, nats: self.nats.clone(), destination, kind, wait: None })
    }
}

/// async-nats' `Subscriber`, a stream of messages.
#[must_use = "a subscriber that is dropped unsubscribes"]
#[derive(Debug)]
pub struct Subscriber {
    inner: async_nats::Subscriber,
    nats: ClientInstrumentation,
    destination: Destination,
    kind: SubjectKind,
    /// The start of the wait for the next message, if receiving is recorded as spans.
    wait: Option<StartTime>,
}

impl Subscriber {
    /// Unsubscribes. Messages that were received stay in the stream.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn unsubscribe(&mut self) -> Result<(), UnsubscribeError> {
        self.inner.unsubscribe().await
    }

    /// Unsubscribes after this number of messages.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn unsubscribe_after(&mut self, unsub_after: u64) -> Result<(), UnsubscribeError> {
        self.inner.unsubscribe_after(unsub_after).await
    }

    /// Unsubscribes after the messages that the server has sent already.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn drain(&mut self) -> Result<(), UnsubscribeError> {
        self.inner.drain().await
    }

    /// Processes messages sequentially, each inside its `process` span, until `stop` completes or the subscription ends.
    ///
    /// A message that is being processed when `stop` completes is finished first. The handler's output is recorded on
    /// the span and then dropped: error handling and replies are up to the handler.
    ///
    /// ```
    /// use async_nats::PublishError;
    /// use otel_nats::{Client, Subscriber};
    ///
    /// async fn answer(client: &Client, subscriber: &mut Subscriber, stop: impl Future<Output = ()>) {
    ///     let handler = async |message: otel_nats::Message| -> Result<(), PublishError> {
    ///         if let Some(reply) = &message.reply {
    ///             client.publish(reply.clone(), "pong".into()).await?;
    ///         }
    ///         Ok(())
    ///     };
    ///     subscriber.process_each(stop, handler).await;
    /// }
    /// ```
    pub async fn process_each<F>(&mut self, stop: impl Future<Output = ()>, handler: impl FnMut(Message) -> F)
    where
        F: Future<Output: HandlerOutcome>,
    {
        let Ok(()) = otel_messaging::for_each(self.map(received), stop, &NoSettlement, handler).await;
    }

    /// Processes messages of different subjects concurrently and those of one subject in order, each inside its `process`
    /// span, until `stop` completes or the subscription ends. `lanes` is the number of handlers that run at once, or
    /// [`Lanes`] with more limits.
    ///
    /// All handlers run in the task that polls the future; a handler can spawn a task to use another thread. All received
    /// messages are processed before this method returns.
    pub async fn process_each_concurrent<F>(
        &mut self,
        lanes: impl Into<Lanes>,
        stop: impl Future<Output = ()>,
        handler: impl Fn(Message) -> F,
    ) where
        F: Future<Output: HandlerOutcome>,
    {
        let subject = |message: &Message| message.subject.to_string();
        let (messages, lanes) = (self.map(received), lanes.into());
        let Ok(()) = otel_messaging::for_each_in_lanes(
            messages,
            subject,
            lanes,
            &OpenGate,
            &NoSettlement,
            stop,
            handler,
        )
        .await;
    }
}

/// A subscription has no errors of receiving: it ends.
fn received(message: Message) -> Result<Message, Infallible> {
    Ok(message)
}

impl Stream for Subscriber {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Message>> {
        if self.wait.is_none() {
            self.wait = self.nats.messaging().receive_start();
        }
        let received = ready!(Pin::new(&mut self.inner).poll_next(cx));
        let wait = self.wait.take();
        Poll::Ready(received.map(|inner| Message::received(inner, self.destination.clone(), self.kind, wait)))
    }
}
