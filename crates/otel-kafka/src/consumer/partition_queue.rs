//! The queues of single partitions, which record received messages as the consumer does.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::fmt;
use std::sync::Arc;

use rdkafka::consumer::DefaultConsumerContext;
use rdkafka::consumer::base_consumer as base;
use rdkafka::consumer::stream_consumer as stream;
use rdkafka::error::KafkaResult;
use rdkafka::util::{DefaultRuntime, Timeout};

use crate::consumer::context::{ConsumerContext, TracedConsumerContext};
use crate::consumer::{BaseConsumer, BorrowedMessage, MessageStream, StreamConsumer, message};

/// The queue of one partition, returned by [`BaseConsumer::split_partition_queue`].
pub struct PartitionQueue<C = DefaultConsumerContext>
where
    C: ConsumerContext + 'static,
{
    inner: base::PartitionQueue<TracedConsumerContext<C>>,
    consumer: Arc<BaseConsumer<C>>,
}

/// The queue of one partition, returned by [`StreamConsumer::split_partition_queue`].
pub struct StreamPartitionQueue<C = DefaultConsumerContext, R = DefaultRuntime>
where
    C: ConsumerContext + 'static,
{
    inner: stream::StreamPartitionQueue<TracedConsumerContext<C>, R>,
    consumer: Arc<StreamConsumer<C, R>>,
}

impl<C: ConsumerContext + 'static> BaseConsumer<C> {
    /// Returns a queue for the messages of one partition, which [`poll`](Self::poll) then no longer returns, or `None`
    /// if topic or partition are invalid. rdkafka documents the conditions under which it can be used.
    #[must_use]
    pub fn split_partition_queue(self: &Arc<Self>, topic: &str, partition: i32) -> Option<PartitionQueue<C>> {
        let inner = self.inner.split_partition_queue(topic, partition)?;
        Some(PartitionQueue { inner, consumer: Arc::clone(self) })
    }
}

impl<C: ConsumerContext + 'static, R> StreamConsumer<C, R> {
    /// Returns a queue for the messages of one partition, which [`recv`](Self::recv) then no longer returns, or `None`
    /// if topic or partition are invalid. rdkafka documents the conditions under which it can be used.
    #[must_use]
    pub fn split_partition_queue(
        self: &Arc<Self>,
        topic: &str,
        partition: i32,
    ) -> Option<StreamPartitionQueue<C, R>> {
        let inner = self.inner.split_partition_queue(topic, partition)?;
        Some(StreamPartitionQueue { inner, consumer: Arc::clone(self) })
    }
}

impl<C: ConsumerContext + 'static> PartitionQueue<C> {
    /// Waits for a message of the partition until `timeout` expires.
    pub fn poll<T: Into<Timeout>>(&self, timeout: T) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        let kafka = &self.consumer.kafka;
        let polled = kafka.messaging().receive_start();
        let received = self.inner.poll(timeout)?;
        Some(message::received(kafka, polled, received))
    }

    /// Sets a callback that is called when the queue is no longer empty.
    pub fn set_nonempty_callback<F>(&mut self, callback: F)
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.inner.set_nonempty_callback(callback);
    }
}

impl<C: ConsumerContext + 'static, R> StreamPartitionQueue<C, R> {
    /// Waits for the next message of the partition.
    ///
    /// # Errors
    /// Returns rdkafka's error.
    pub async fn recv(&self) -> KafkaResult<BorrowedMessage<'_>> {
        let kafka = &self.consumer.kafka;
        let polled = kafka.messaging().receive_start();
        let received = self.inner.recv().await;
        message::received(kafka, polled, received)
    }

    /// Returns a stream of the partition's messages.
    pub fn stream(&self) -> MessageStream<'_, C> {
        MessageStream { inner: self.inner.stream(), kafka: &self.consumer.kafka, polled: None }
    }
}

impl<C: ConsumerContext + 'static> fmt::Debug for PartitionQueue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionQueue").finish_non_exhaustive()
    }
}

impl<C: ConsumerContext + 'static, R> fmt::Debug for StreamPartitionQueue<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamPartitionQueue").finish_non_exhaustive()
    }
}
