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
use futures_channel::oneshot;
use futures_core::Stream;
use futures_util::StreamExt as _;
use opentelemetry::trace::TraceContextExt as _;
use otel_messaging::{MessagingOperation, start_processing_batch};

use crate::attributes::set_ack;
use crate::client::Client;
use crate::jetstream::message::JetStreamMessage;
use crate::jetstream::messages::Messages;
use crate::nats::ClientInstrumentation;
use crate::outcome;
use crate::producer::PUBLISH;

/// A message that was published, and the future of its acknowledgement.
type Published = (MessagingOperation, bare::PublishAckFuture);

/// The work of the task for futures that are dropped.
#[derive(Debug)]
enum Unawaited {
    Published(Published),
    /// Answered after the spans of all acknowledgements that have arrived.
    Flush(oneshot::Sender<()>),
}

type Acknowledgement = Result<PublishAck, PublishError>;

/// `error.type` of a message whose acknowledgement is not known.
const UNKNOWN: &str = "unknown";

/// async-nats' `jetstream::Context`, whose messages carry their context. Cloning is cheap.
///
/// Methods of async-nats' context that are missing here are available through [`inner`](Self::inner), without
/// instrumentation. [`consumer`](Self::consumer) and [`messages`](Self::messages) instrument what they return.
#[derive(Clone, Debug)]
pub struct Context {
    inner: bare::Context,
    pub(super) client: Client,
    unawaited: UnboundedSender<Unawaited>,
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
        let (unawaited, dropped) = unbounded();
        // One task for all futures that are dropped. It ends after the last context and the last acknowledgement.
        tokio::spawn(dropped.for_each_concurrent(None, async |unawaited| match unawaited {
            Unawaited::Published(published) => drop(acknowledged(published).await),
            Unawaited::Flush(flushed) => drop(flushed.send(())),
        }));
        Self { inner, client, unawaited }
    }

    /// Returns the context of async-nats, for that which this crate does not instrument.
    #[must_use]
    pub fn inner(&self) -> &bare::Context {
        &self.inner
    }

    /// Waits for the acknowledgements of all messages that were published, and for the ends of those spans whose
    /// acknowledgements are not awaited.
    pub async fn wait_for_acks(&self) {
        self.inner.wait_for_acks().await;
        // An acknowledgement frees its place before it ends the span. The task does both in one step, so after that step it
        // answers.
        let (flushed, answer) = oneshot::channel();
        if self.unawaited.unbounded_send(Unawaited::Flush(flushed)).is_ok() {
            let _ = answer.await;
        }
    }

    /// Instruments a stream of messages of async-nats. The streams of a [`Consumer`](crate::jetstream::Consumer) are
    /// instrumented already.
    pub fn messages<S, E>(&self, stream: S) -> Messages<S>
    where
        S: Stream<Item = Result<async_nats::jetstream::Message, E>>,
    {
        Messages::new(stream, self.nats().clone(), None)
    }

    /// Starts one `process` span for several messages, such as those of a `fetch`. The span links to each message, and
    /// records their number.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use otel_nats::jetstream::{Context, JetStreamMessage, PullConsumer};
    ///
    /// async fn all(
    ///     context: &Context,
    ///     consumer: &PullConsumer,
    /// ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     let messages = consumer.fetch().max_messages(100).messages().await?;
    ///     let batch: Vec<JetStreamMessage> = messages.try_collect().await?;
    ///     context.processing_batch(&batch).run(async { println!("{}", batch.len()) }).await;
    ///     for message in &batch {
    ///         message.ack().await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn processing_batch(&self, messages: &[JetStreamMessage]) -> MessagingOperation {
        start_processing_batch(self.nats().messaging(), messages)
    }

    pub(crate) fn nats(&self) -> &ClientInstrumentation {
        &self.client.nats
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
    unawaited: UnboundedSender<Unawaited>,
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
            let _ = self.unawaited.unbounded_send(Unawaited::Published(published));
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
