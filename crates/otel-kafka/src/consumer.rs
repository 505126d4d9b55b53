//! The consumers: they record received messages and settlements, and return messages with methods for processing.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans", and [their
//! page on Kafka](https://opentelemetry.io/docs/specs/semconv/messaging/kafka/).

mod adapter;
mod context;
mod drain;
mod for_each;
mod hook_consumer;
mod leave;
mod message;
mod owned_message;
mod partition_queue;
mod positions;
mod settle;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use otel_messaging::{MessagingOperation, start_processing_batch};
use otel_operation::StartTime;
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{
    self as bare, CommitMode, Consumer, ConsumerGroupMetadata, DefaultConsumerContext, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::groups::GroupList;
use rdkafka::metadata::Metadata;
use rdkafka::util::{AsyncRuntime, DefaultRuntime, Timeout};
use rdkafka::{Offset, TopicPartitionList};

use crate::attributes::CommitTarget;
use crate::config::Options;
use crate::consumer::leave::{Membership, leave_group};
pub(crate) use crate::consumer::settle::settling;
use crate::consumer::settle::{COMMIT, STORE_OFFSET, consumer_methods, settling_message};
use crate::kafka::ClientInstrumentation;

pub use crate::consumer::context::{ConsumerContext, TracedConsumerContext};
pub use crate::consumer::message::BorrowedMessage;
pub use crate::consumer::owned_message::OwnedMessage;
pub use crate::consumer::partition_queue::{PartitionQueue, StreamPartitionQueue};

/// rdkafka's `StreamConsumer`. Other methods are available through rdkafka's trait `Consumer`.
#[must_use = "Consumer polling thread will stop immediately if unused"]
pub struct StreamConsumer<C = DefaultConsumerContext, R = DefaultRuntime>
where
    C: ConsumerContext + 'static,
{
    inner: Arc<bare::StreamConsumer<TracedConsumerContext<C>, R>>,
    kafka: ClientInstrumentation,
}

/// rdkafka's `BaseConsumer`. Other methods are available through rdkafka's trait `Consumer`.
///
/// It does not dereference to rdkafka's consumer, with which a function could receive and commit unrecorded:
///
/// ```compile_fail,E0308
/// fn theirs(consumer: &rdkafka::consumer::BaseConsumer) {}
///
/// fn ours(consumer: &otel_kafka::BaseConsumer) {
///     theirs(consumer);
/// }
/// ```
pub struct BaseConsumer<C = DefaultConsumerContext>
where
    C: ConsumerContext + 'static,
{
    inner: Arc<bare::BaseConsumer<TracedConsumerContext<C>>>,
    kafka: ClientInstrumentation,
}

impl<C, R> StreamConsumer<C, R>
where
    C: ConsumerContext + 'static,
{
    /// Replaces the options.
    pub fn with_options(mut self, options: Options) -> Self {
        self.kafka = self.kafka.with_options(options);
        self.inner.context().record_with(self.kafka.clone());
        self
    }

    /// Waits for the next message. The wait is recorded only with [`Options::with_receive_spans`].
    ///
    /// # Errors
    /// Returns rdkafka's error.
    pub async fn recv(&self) -> Result<BorrowedMessage<'_>, KafkaError> {
        let polled = self.kafka.messaging().receive_start();
        let received = self.inner.recv().await;
        message::received(&self.kafka, polled, received)
    }

    /// Returns a stream of messages.
    pub fn stream(&self) -> MessageStream<'_, C> {
        MessageStream { inner: self.inner.stream(), kafka: &self.kafka, polled: None }
    }

    /// Starts one `process` span for several messages. The span links to each message, and records their number and
    /// the attributes that they share.
    ///
    /// ```
    /// use otel_kafka::{BorrowedMessage, StreamConsumer};
    ///
    /// async fn all(consumer: &StreamConsumer, messages: &[BorrowedMessage<'_>]) {
    ///     consumer.processing_batch(messages).run(async { println!("{}", messages.len()) }).await;
    /// }
    /// ```
    pub fn processing_batch(&self, messages: &[BorrowedMessage<'_>]) -> MessagingOperation {
        start_processing_batch(self.kafka.messaging(), messages)
    }
}

impl<C> BaseConsumer<C>
where
    C: ConsumerContext + 'static,
{
    /// Replaces the options.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.kafka = self.kafka.with_options(options);
        self.inner.context().record_with(self.kafka.clone());
        self
    }

    /// Waits for a message until `timeout` expires, and serves other events.
    pub fn poll<T: Into<Timeout>>(&self, timeout: T) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        let polled = self.kafka.messaging().receive_start();
        let received = self.inner.poll(timeout)?;
        Some(message::received(&self.kafka, polled, received))
    }

    /// Returns an iterator over messages, which blocks until the next message arrives.
    pub fn iter(&self) -> Iter<'_, C> {
        Iter(self)
    }

    /// Closes the consumer's queue, as rdkafka does when the consumer is dropped.
    ///
    /// # Errors
    /// Returns rdkafka's error.
    pub fn close_queue(&self) -> KafkaResult<()> {
        self.leave_group();
        self.inner.close_queue()
    }

    fn leave_group(&self) {
        leave_group(&*self.inner, || drop(self.inner.poll(Duration::ZERO)));
    }

    /// Returns true if the consumer has left its group, after [`close_queue`](Self::close_queue) and further polls.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.inner.closed()
    }

    /// Sets a callback that is called when the consumer's queue is no longer empty.
    pub fn set_nonempty_callback<F>(&mut self, callback: F)
    where
        F: Fn() + Send + Sync + 'static,
    {
        // Only partition queues share the inner consumer. They share this one as well, which then cannot be borrowed
        // mutably.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_nonempty_callback(callback);
        }
    }

    /// Starts one `process` span for several messages, as [`StreamConsumer::processing_batch`] does.
    pub fn processing_batch(&self, messages: &[BorrowedMessage<'_>]) -> MessagingOperation {
        start_processing_batch(self.kafka.messaging(), messages)
    }
}

/// The stream returned by [`StreamConsumer::stream`].
#[must_use = "streams do nothing unless polled"]
pub struct MessageStream<'a, C: ConsumerContext + 'static> {
    inner: bare::MessageStream<'a, TracedConsumerContext<C>>,
    kafka: &'a ClientInstrumentation,
    polled: Option<StartTime>,
}

impl<'a, C: ConsumerContext + 'static> Stream for MessageStream<'a, C> {
    type Item = KafkaResult<BorrowedMessage<'a>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.polled.is_none() {
            self.polled = self.kafka.messaging().receive_start();
        }
        let Poll::Ready(received) = Pin::new(&mut self.inner).poll_next(cx) else { return Poll::Pending };
        let polled = self.polled.take();
        Poll::Ready(received.map(|received| message::received(self.kafka, polled, received)))
    }
}

/// The iterator returned by [`BaseConsumer::iter`].
pub struct Iter<'a, C: ConsumerContext + 'static>(&'a BaseConsumer<C>);

impl<'a, C: ConsumerContext + 'static> Iterator for Iter<'a, C> {
    type Item = KafkaResult<BorrowedMessage<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // A poll without a timeout may return `None` after it has served another event.
            if let Some(received) = self.0.poll(None) {
                return Some(received);
            }
        }
    }
}

impl<'a, C: ConsumerContext + 'static> IntoIterator for &'a BaseConsumer<C> {
    type Item = KafkaResult<BorrowedMessage<'a>>;
    type IntoIter = Iter<'a, C>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<R: AsyncRuntime> FromClientConfig for StreamConsumer<DefaultConsumerContext, R> {
    fn from_config(config: &ClientConfig) -> KafkaResult<Self> {
        Self::from_config_and_context(config, DefaultConsumerContext)
    }
}

impl<C, R> FromClientConfigAndContext<C> for StreamConsumer<C, R>
where
    C: ConsumerContext + 'static,
    R: AsyncRuntime,
{
    fn from_config_and_context(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        let kafka = ClientInstrumentation::from_config(config);
        let context = TracedConsumerContext::new(context, kafka.clone(), Membership::from_config(config));
        let inner = Arc::new(bare::StreamConsumer::from_config_and_context(config, context)?);
        Ok(Self { inner, kafka })
    }
}

impl FromClientConfig for BaseConsumer {
    fn from_config(config: &ClientConfig) -> KafkaResult<Self> {
        Self::from_config_and_context(config, DefaultConsumerContext)
    }
}

impl<C> FromClientConfigAndContext<C> for BaseConsumer<C>
where
    C: ConsumerContext + 'static,
{
    fn from_config_and_context(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        let kafka = ClientInstrumentation::from_config(config);
        let context = TracedConsumerContext::new(context, kafka.clone(), Membership::from_config(config));
        let inner = Arc::new(bare::BaseConsumer::from_config_and_context(config, context)?);
        Ok(Self { inner, kafka })
    }
}

impl<C, R> Consumer<TracedConsumerContext<C>> for StreamConsumer<C, R>
where
    C: ConsumerContext + 'static,
{
    consumer_methods!(TracedConsumerContext<C>);
}

impl<C> Consumer<TracedConsumerContext<C>> for BaseConsumer<C>
where
    C: ConsumerContext + 'static,
{
    consumer_methods!(TracedConsumerContext<C>);
}

/// Leaves the group before rdkafka closes the consumer, unless the thread that answers overdue revocations still uses it.
impl<C: ConsumerContext + 'static, R> Drop for StreamConsumer<C, R> {
    fn drop(&mut self) {
        if Arc::strong_count(&self.inner) > 1 {
            return;
        }
        let mut stream = self.inner.stream();
        let mut task = TaskContext::from_waker(Waker::noop());
        leave_group(&*self.inner, || drop(Pin::new(&mut stream).poll_next(&mut task)));
    }
}

/// Leaves the group before rdkafka closes the consumer.
impl<C: ConsumerContext + 'static> Drop for BaseConsumer<C> {
    fn drop(&mut self) {
        self.leave_group();
    }
}

impl<C: ConsumerContext + 'static, R> fmt::Debug for StreamConsumer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamConsumer").field("kafka", &self.kafka).finish_non_exhaustive()
    }
}

impl<C: ConsumerContext + 'static> fmt::Debug for BaseConsumer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseConsumer").field("kafka", &self.kafka).finish_non_exhaustive()
    }
}

impl<C: ConsumerContext + 'static> fmt::Debug for MessageStream<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").finish_non_exhaustive()
    }
}

impl<C: ConsumerContext + 'static> fmt::Debug for Iter<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
