//! Publishing to a stream. The span ends with the server's acknowledgement, also if its future was dropped.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans".

use std::future::{IntoFuture, poll_fn};
use std::pin::{Pin, pin};

use async_nats::HeaderMap;
use async_nats::jetstream::context::traits::Publisher as _;
use async_nats::jetstream::context::{self as bare, PublishError, PublishErrorKind};
use async_nats::jetstream::message::{OutboundMessage, PublishMessage};
use async_nats::jetstream::publish::PublishAck;
use async_nats::subject::ToSubject;
use bytes::Bytes;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_core::Stream;
use futures_util::StreamExt as _;
use opentelemetry::trace::TraceContextExt as _;
use otel_messaging::MessagingOperation;

use crate::attributes::set_ack;
use crate::client::Client;
use crate::jetstream::consumer::Messages;
use crate::outcome;
use crate::producer::PUBLISH;

/// A message that was published, and the future of its acknowledgement.
type Published = (MessagingOperation, bare::PublishAckFuture);

type Acknowledgement = Result<PublishAck, PublishError>;

/// `error.type` of a message whose acknowledgement is not known.
const UNKNOWN: &str = "unknown";

/// async-nats' `jetstream::Context`, whose messages carry their context. Cloning is cheap.
///
/// Streams, consumers and stores are managed by [`inner`](Self::inner). [`messages`](Self::messages) instruments the
/// messages of a consumer.
#[derive(Clone, Debug)]
pub struct Context {
    inner: bare::Context,
    pub(super) client: Client,
    unawaited: UnboundedSender<Published>,
}

/// Creates a context with the default options of async-nats. Must be called in a tokio runtime, as async-nats requires.
#[must_use]
pub fn new(client: Client) -> Context {
    let inner = async_nats::jetstream::new(client.inner.clone());
    Context::new(client, inner)
}

impl Context {
    /// Creates a context from one of async-nats that was built with other options. Must be called in a tokio runtime.
    #[must_use]
    pub fn new(client: Client, inner: bare::Context) -> Self {
        let (unawaited, dropped) = unbounded::<Published>();
        // One task for all futures that are dropped. It ends after the last context and the last acknowledgement.
        tokio::spawn(
            dropped.for_each_concurrent(None, async |published| drop(acknowledged(published).await)),
        );
        Self { inner, client, unawaited }
    }

    /// Returns the context of async-nats, for that which this crate does not instrument.
    #[must_use]
    pub fn inner(&self) -> &bare::Context {
        &self.inner
    }

    /// Waits for the acknowledgements of all messages that were published.
    pub async fn wait_for_acks(&self) {
        self.inner.wait_for_acks().await;
    }

    /// Instruments a stream of messages: those of a pull consumer (`messages`, `stream`, `fetch`, `batch`), of a push consumer,
    /// or of an ordered one.
    ///
    /// ```
    /// use async_nats::jetstream::consumer::PullConsumer;
    /// use futures_util::StreamExt;
    ///
    /// async fn run(
    ///     context: &otel_nats::jetstream::Context,
    ///     consumer: &PullConsumer,
    /// ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     let mut messages = context.messages(consumer.messages().await?);
    ///     while let Some(message) = messages.next().await {
    ///         let message = message?;
    ///         message.process(async |message| println!("{}", message.subject)).await;
    ///         message.ack().await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn messages<S, E>(&self, stream: S) -> Messages<S>
    where
        S: Stream<Item = Result<async_nats::jetstream::Message, E>>,
    {
        Messages::new(stream, self.client.nats.clone())
    }

    /// Publishes a message to a stream. The returned future waits for the acknowledgement.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn publish<S: ToSubject>(
        &self,
        subject: S,
        payload: Bytes,
    ) -> Result<PublishAckFuture, PublishError> {
        self.send_publish(subject, PublishMessage::build().payload(payload)).await
    }

    /// Publishes a message with headers, as [`publish`](Self::publish) does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn publish_with_headers<S: ToSubject>(
        &self,
        subject: S,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAckFuture, PublishError> {
        self.send_publish(subject, PublishMessage::build().payload(payload).headers(headers)).await
    }

    /// Publishes a message with conditions, such as an id or the expected last sequence, as [`publish`](Self::publish)
    /// does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn send_publish<S: ToSubject>(
        &self,
        subject: S,
        publish: PublishMessage,
    ) -> Result<PublishAckFuture, PublishError> {
        let OutboundMessage { subject, payload, headers } = publish.outbound_message(subject);
        let (mut operation, headers) = self.client.start(PUBLISH, Some(UNKNOWN), &subject, headers, &payload);
        let publish = self.inner.publish_message(OutboundMessage::new(subject, payload, headers));
        let mut publish = pin!(publish);
        match poll_fn(|cx| operation.inside(|| publish.as_mut().poll(cx))).await {
            Ok(inner) => {
                let unawaited = self.unawaited.clone();
                Ok(PublishAckFuture { published: Some((operation, inner)), unawaited })
            }
            Err(error) => {
                operation.finish(&outcome::of_error(&error));
                Err(error)
            }
        }
    }
}

/// async-nats' `PublishAckFuture`: await it for the acknowledgement, which ends the span of the message.
///
/// If it is dropped before, a task waits for the acknowledgement. If it is dropped while it waits, the span ends with the
/// `error.type` `unknown`.
#[derive(Debug)]
#[must_use = "an acknowledgement that is not awaited may be an error"]
pub struct PublishAckFuture {
    published: Option<Published>,
    unawaited: UnboundedSender<Published>,
}

impl IntoFuture for PublishAckFuture {
    type Output = Acknowledgement;

    type IntoFuture = Pin<Box<dyn Future<Output = Acknowledgement> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        match self.published.take() {
            Some(published) => Box::pin(acknowledged(published)),
            // Unreachable: only this method and `drop` take it.
            None => Box::pin(async { Err(PublishError::new(PublishErrorKind::BrokenPipe)) }),
        }
    }
}

impl Drop for PublishAckFuture {
    fn drop(&mut self) {
        if let Some(published) = self.published.take() {
            // Fails only if the runtime of the task is gone; the span then ends as unknown.
            let _ = self.unawaited.unbounded_send(published);
        }
    }
}

/// Waits for the acknowledgement, which ends the span.
async fn acknowledged((operation, ack): Published) -> Acknowledgement {
    let recording = operation.recording().is_some().then(|| operation.context().clone());
    let outcome = |result: &Acknowledgement| {
        if let (Some(context), Ok(ack)) = (&recording, result) {
            set_ack(&context.span(), ack);
        }
        outcome::of_result(result)
    };
    operation.run_with(ack.into_future(), outcome).await
}
