//! Consumers: pull, push and ordered ones, and the streams of their messages.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

mod builders;

use async_nats::jetstream::consumer as bare;
use async_nats::jetstream::consumer::{IntoConsumerConfig, StreamError, pull, push};
use async_nats::jetstream::context::ConsumerInfoError;
use futures_core::Stream;
use futures_util::StreamExt as _;

use crate::jetstream::messages::{ConsumerFacts, Messages};
use crate::nats::ClientInstrumentation;

pub use crate::jetstream::consumer::builders::{BatchBuilder, FetchBuilder, StreamBuilder};

/// async-nats' `Consumer`, whose messages are instrumented.
///
/// It does not dereference to that type, whose streams record nothing; [`inner`](Self::inner) returns it.
///
/// ```
/// use futures_util::StreamExt;
/// use otel_nats::jetstream::{Context, PullConsumer};
///
/// async fn run(context: &Context) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let stream = context.get_stream("ORDERS").await?;
///     let consumer: PullConsumer = stream.get_consumer("till").await?;
///     let mut messages = consumer.messages().await?;
///     while let Some(message) = messages.next().await {
///         let message = message?;
///         message.process(async |message| println!("{}", message.subject)).await;
///         message.ack().await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Consumer<T: IntoConsumerConfig> {
    inner: bare::Consumer<T>,
    nats: ClientInstrumentation,
}

/// A consumer that asks for its messages.
pub type PullConsumer = Consumer<pull::Config>;

/// A consumer whose messages the server sends to a subject.
pub type PushConsumer = Consumer<push::Config>;

/// A pull consumer that delivers the messages of the stream in order and is created again after a gap.
pub type OrderedPullConsumer = Consumer<pull::OrderedConfig>;

/// A push consumer that delivers the messages of the stream in order and is created again after a gap.
pub type OrderedPushConsumer = Consumer<push::OrderedConfig>;

impl<T: IntoConsumerConfig> Consumer<T> {
    pub(crate) fn new(inner: bare::Consumer<T>, nats: ClientInstrumentation) -> Self {
        Self { inner, nats }
    }

    /// Returns the consumer of async-nats, for that which this crate does not instrument.
    #[must_use]
    pub fn inner(&self) -> &bare::Consumer<T> {
        &self.inner
    }

    /// Asks the server for the present information about the consumer, and keeps it.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn info(&mut self) -> Result<&bare::Info, ConsumerInfoError> {
        self.inner.info().await
    }

    /// Asks the server for the present information about the consumer.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_info(&self) -> Result<bare::Info, ConsumerInfoError> {
        self.inner.get_info().await
    }

    /// Returns the last information about the consumer.
    #[must_use]
    pub fn cached_info(&self) -> &bare::Info {
        self.inner.cached_info()
    }

    fn instrument<S>(&self) -> impl Fn(S) -> Messages<S> + use<S, T> {
        let (nats, info) = (self.nats.clone(), self.inner.cached_info());
        let is_durable = info.config.durable_name.is_some();
        let facts = ConsumerFacts { created: info.created, is_durable };
        move |stream| Messages::new(stream, nats.clone(), Some(facts))
    }
}

impl Consumer<pull::Config> {
    /// Returns the messages, for which the consumer asks ahead.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn messages(&self) -> Result<Messages<pull::Stream>, StreamError> {
        self.inner.messages().await.map(self.instrument())
    }

    /// Returns a builder of a stream of messages with other limits than those of [`messages`](Self::messages).
    pub fn stream(&self) -> StreamBuilder<'_> {
        StreamBuilder::new(self)
    }

    /// Returns a builder of a request for the messages that exist. The stream of its messages ends after them.
    pub fn fetch(&self) -> FetchBuilder<'_> {
        FetchBuilder::new(self)
    }

    /// Returns a builder of a request for a number of messages. The stream waits for them until the request expires.
    pub fn batch(&self) -> BatchBuilder<'_> {
        BatchBuilder::new(self)
    }

    /// Returns a stream of requests for `batch` messages each.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub fn sequence(
        &self,
        batch: usize,
    ) -> Result<
        impl Stream<Item = Result<Messages<pull::Batch>, pull::MessagesError>> + use<>,
        pull::BatchError,
    > {
        let instrument = self.instrument();
        Ok(self.inner.sequence(batch)?.map(move |batch| batch.map(&instrument)))
    }
}

impl Consumer<pull::OrderedConfig> {
    /// Returns the messages in order.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn messages(self) -> Result<Messages<pull::Ordered>, StreamError> {
        let instrument = self.instrument();
        self.inner.messages().await.map(instrument)
    }
}

impl Consumer<push::Config> {
    /// Returns the messages that the server sends.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn messages(&self) -> Result<Messages<push::Messages>, StreamError> {
        self.inner.messages().await.map(self.instrument())
    }
}

impl Consumer<push::OrderedConfig> {
    /// Returns the messages in order.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn messages(self) -> Result<Messages<push::Ordered>, StreamError> {
        let instrument = self.instrument();
        self.inner.messages().await.map(instrument)
    }
}
