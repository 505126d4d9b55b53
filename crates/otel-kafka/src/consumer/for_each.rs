//! The adapters that call a handler for each message: `for_each` and `for_each_concurrent`.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! message has its own `process` operation.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Mutex, PoisonError};

use futures_core::Stream;
use futures_util::StreamExt as _;
use opentelemetry::Context;
use otel_messaging::{Acknowledgement, HandlerOutcome, Lanes, Settler};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::util::AsyncRuntime;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::attributes::CommitTarget;
use crate::consumer::StreamConsumer;
use crate::consumer::adapter::{Adapter, topic_partition};
use crate::consumer::context::ConsumerContext;
use crate::consumer::message::BorrowedMessage;
use crate::consumer::positions::{Positions, TopicPartition};
use crate::consumer::settle::{COMMIT, STORE_OFFSET, is_recorded, settle};
use crate::outcome;

impl<C, R> StreamConsumer<C, R>
where
    C: ConsumerContext + 'static,
    R: AsyncRuntime,
{
    /// Processes messages sequentially, each inside its `process` span, until `stop` completes.
    ///
    /// A message that is being processed when `stop` completes is finished first. The handler's output is recorded on
    /// the span and then dropped: error handling is up to the handler, and so is committing unless
    /// [`Options::with_acknowledgement`](crate::Options::with_acknowledgement) is set. To end the loop from the handler,
    /// complete `stop`, or use `recv` and `process` instead. Partitions are not revoked while a message is processed,
    /// because the consumer is polled only between messages.
    ///
    /// # Errors
    /// Returns the first error of receiving, as `recv` does, or of a commit. The method can be called again afterwards.
    ///
    /// ```
    /// use otel_kafka::StreamConsumer;
    /// use rdkafka::Message;
    ///
    /// async fn run(consumer: &StreamConsumer, stop: impl Future<Output = ()>) {
    ///     let mut stop = std::pin::pin!(stop);
    ///     while let Err(error) = consumer
    ///         .for_each(stop.as_mut(), |message| async move { println!("{:?}", message.payload()) })
    ///         .await
    ///     {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    pub async fn for_each<'s, F>(
        &'s self,
        stop: impl Future<Output = ()>,
        handler: impl FnMut(BorrowedMessage<'s>) -> F,
    ) -> KafkaResult<()>
    where
        F: Future<Output: HandlerOutcome>,
    {
        otel_messaging::for_each(messages(self), stop, &Offsets::new(self, None), handler).await
    }

    /// Processes messages of different partitions concurrently and those of one partition in order, each inside its
    /// `process` span, until `stop` completes. `lanes` is the number of handlers that run at once, or [`Lanes`] with
    /// more limits.
    ///
    /// All handlers run in the task that polls the future; a handler can spawn a task to use another thread. When
    /// partitions are revoked, none of their waiting messages is started, and receiving stops until their running
    /// handlers have ended. After [`Lanes::with_drain_deadline`] these are dropped, as `cancelled`. Only then are the
    /// partitions released, with several of these adapters on one consumer by the last one. The next member begins with
    /// the first message that was not processed: with automatic commits its offset is committed before the release.
    ///
    /// If the future is not polled after a revocation, another thread releases the partitions a second after the deadline.
    /// The handlers that run then are dropped with the next poll.
    ///
    /// All received messages are processed before this method returns. If [`Lanes::with_read_ahead`] messages wait and no
    /// handler ends for a second, their partitions are paused, so that others go on and a rebalance is noticed.
    ///
    /// # Errors
    /// Returns the first error of receiving or of a commit, after all received messages have been processed. The method
    /// can be called again afterwards.
    pub async fn for_each_concurrent<'s, F>(
        &'s self,
        lanes: impl Into<Lanes>,
        stop: impl Future<Output = ()>,
        handler: impl Fn(BorrowedMessage<'s>) -> F,
    ) -> KafkaResult<()>
    where
        F: Future<Output: HandlerOutcome>,
    {
        // Outlives the loop below, so that partitions are not released while their messages are being processed.
        let lanes = lanes.into();
        let adapter = Adapter::begin(self, lanes);
        let offsets = Offsets::new(self, adapter.positions());
        let lane = |message: &BorrowedMessage<'s>| adapter.receive(message);
        otel_messaging::for_each_in_lanes(messages(self), lane, lanes, &adapter, &offsets, stop, handler)
            .await
    }
}

/// Returns the messages of a consumer. The end of a partition is a notification that ends no loop.
fn messages<C, R>(consumer: &StreamConsumer<C, R>) -> impl Stream<Item = KafkaResult<BorrowedMessage<'_>>>
where
    C: ConsumerContext + 'static,
{
    let is_end = |received: &KafkaResult<_>| matches!(received, Err(KafkaError::PartitionEOF(_)));
    consumer.stream().filter(move |received| ready(!is_end(received)))
}

/// The offsets of processed messages, which an adapter commits or stores if the user has chosen it.
///
/// An offset acknowledges all messages before it. After a failure, nothing more of the partition is therefore
/// acknowledged until the failed message has been delivered again and processed, or the group has assigned the partition anew.
struct Offsets<'a, C: ConsumerContext + 'static, R> {
    consumer: &'a StreamConsumer<C, R>,
    mode: Acknowledgement,
    positions: Option<&'a Positions>,
    /// The offset of the first failed message of each partition, and the assignment in which it failed. Another member may have
    /// processed it since.
    failed: Mutex<HashMap<TopicPartition, (i64, u64)>>,
}

/// A message that is to be acknowledged.
struct Receipt {
    partition: TopicPartition,
    offset: i64,
    /// The number of the assignment in which it was received.
    assignment: u64,
    carried: Context,
}

impl<'a, C: ConsumerContext + 'static, R> Offsets<'a, C, R> {
    fn new(consumer: &'a StreamConsumer<C, R>, positions: Option<&'a Positions>) -> Self {
        let mode = consumer.kafka.messaging().acknowledgement();
        Self { consumer, mode, positions, failed: Mutex::default() }
    }

    /// Returns true if the message, which was received in this assignment of its partition, may be acknowledged.
    fn note(&self, partition: TopicPartition, offset: i64, assignment: u64, succeeded: bool) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let former = failed.get(&partition).copied();
        if former.is_some_and(|(first, failed_in)| failed_in == assignment && first < offset) {
            return false;
        }
        // A handler can end after the next assignment, which it does not concern.
        if former.is_none_or(|(_, failed_in)| failed_in <= assignment) {
            if succeeded {
                failed.remove(&partition);
            } else {
                failed.insert(partition, (offset, assignment));
            }
        }
        succeeded
    }

    fn acknowledge(
        &self,
        (topic, partition): &TopicPartition,
        offset: i64,
        carried: &Context,
    ) -> KafkaResult<()> {
        let StreamConsumer { inner, kafka } = self.consumer;
        let target = CommitTarget { topic: Some(topic.clone()), partition: Some((*partition, offset)) };
        match self.mode {
            Acknowledgement::OnSuccess | Acknowledgement::ByOutcome => {
                let mut list = TopicPartitionList::with_capacity(1);
                list.add_partition_offset(topic, *partition, Offset::Offset(offset + 1))?;
                let commit = settle(kafka, COMMIT, &target, Some(carried));
                commit.run_sync(|| inner.commit(&list, CommitMode::Async), outcome::of_result)
            }
            Acknowledgement::StoredOnSuccess => {
                let run = || inner.store_offset(topic, *partition, offset);
                if !is_recorded(kafka, STORE_OFFSET) {
                    return run();
                }
                settle(kafka, STORE_OFFSET, &target, Some(carried)).run_sync(run, outcome::of_result)
            }
            _ => Ok(()),
        }
    }
}

impl<'a, C: ConsumerContext + 'static, R> Settler<BorrowedMessage<'a>, KafkaError> for Offsets<'_, C, R> {
    type Receipt = Option<Receipt>;

    fn receipt(&self, message: &BorrowedMessage<'a>) -> Self::Receipt {
        let acknowledges = self.mode != Acknowledgement::Never;
        (acknowledges || self.positions.is_some()).then(|| {
            let carried =
                if acknowledges { otel_messaging::carried_context(message).clone() } else { Context::new() };
            let partition = topic_partition(message);
            let assignment = if acknowledges { self.consumer.context().assignment(&partition) } else { 0 };
            Receipt { partition, offset: message.offset(), assignment, carried }
        })
    }

    async fn settle(&self, receipt: Self::Receipt, succeeded: bool) -> KafkaResult<()> {
        let Some(Receipt { partition, offset, assignment, carried }) = receipt else { return Ok(()) };
        if let Some(positions) = self.positions {
            positions.processed(&partition, offset);
        }
        if self.mode != Acknowledgement::Never && self.note(partition.clone(), offset, assignment, succeeded)
        {
            return self.acknowledge(&partition, offset, &carried);
        }
        Ok(())
    }
}
