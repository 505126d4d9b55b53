//! The running loop of `for_each_concurrent`, as its consumer sees it: it holds revocations back, pauses partitions, and
//! gives back what it does not process.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): the commit of offsets that are
//! given back is a `settle` operation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use otel_messaging::{LaneGate, Lanes};
use rdkafka::consumer::{self as bare, CommitMode, Consumer as _};
use rdkafka::util::AsyncRuntime;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::consumer::StreamConsumer;
use crate::consumer::context::{ConsumerContext, TracedConsumerContext};
use crate::consumer::message::BorrowedMessage;
use crate::consumer::positions::{Positions, TopicPartition};

/// The time after the deadline of a loop at which a revocation is answered without the loop, which has then not been polled.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) fn topic_partition(message: &BorrowedMessage<'_>) -> TopicPartition {
    (message.topic().to_owned(), message.partition())
}

/// Guard that registers a running loop with the consumer's context. Dropping it releases deferred partitions.
pub(crate) struct Adapter<'a, C: ConsumerContext + 'static, R> {
    consumer: &'a StreamConsumer<C, R>,
    id: u64,
    /// Set if librdkafka stores the offsets of messages that it has delivered.
    positions: Option<Arc<Positions>>,
    paused: Mutex<Vec<TopicPartition>>,
}

impl<'a, C: ConsumerContext + 'static, R: AsyncRuntime> Adapter<'a, C, R> {
    pub(crate) fn begin(consumer: &'a StreamConsumer<C, R>, lanes: Lanes) -> Self {
        let positions = consumer.kafka.facts().stores_offsets.then(Arc::<Positions>::default);
        let answer_overdue = || -> Arc<dyn Fn(u64) + Send + Sync> {
            let inner = Arc::downgrade(&consumer.inner);
            Arc::new(move |revocation| answer_overdue(&inner, revocation))
        };
        let limit = lanes.drain_deadline().saturating_add(GRACE);
        let id = consumer.context().drain().begin(limit, positions.clone(), answer_overdue);
        Self { consumer, id, positions, paused: Mutex::default() }
    }
}

impl<C: ConsumerContext + 'static, R> Adapter<'_, C, R> {
    pub(crate) fn positions(&self) -> Option<&Positions> {
        self.positions.as_deref()
    }

    /// Notes a received message, and returns its lane.
    pub(crate) fn receive(&self, message: &BorrowedMessage<'_>) -> TopicPartition {
        let partition = topic_partition(message);
        if let Some(positions) = &self.positions {
            positions.received(&partition, message.offset());
        }
        partition
    }

    fn paused(&self) -> MutexGuard<'_, Vec<TopicPartition>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, which: impl Fn(&TopicPartition) -> bool) {
        if let Some(positions) = &self.positions {
            give_back(self.consumer, positions, which);
        }
    }
}

/// Moves the offsets of these partitions back to their first message that was not processed. Errors are ignored, because
/// the partition may belong to another member already.
fn give_back<C: ConsumerContext + 'static, R>(
    consumer: &StreamConsumer<C, R>,
    positions: &Positions,
    which: impl Fn(&TopicPartition) -> bool,
) {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), next) in positions.take_unprocessed(which) {
        let _ = consumer.inner.store_offset(&topic, partition, next - 1);
        let _ = list.add_partition_offset(&topic, partition, Offset::Offset(next));
    }
    // An automatic commit may have passed the message already, and librdkafka then does not commit it again.
    if list.count() > 0 && consumer.kafka.facts().commits {
        let _ = consumer.commit(&list, CommitMode::Async);
    }
}

/// Answers a revocation in place of the loops that have not ended what they run of its partitions. They end it when they are
/// polled again.
fn answer_overdue<C: ConsumerContext + 'static, R>(
    consumer: &Weak<bare::StreamConsumer<TracedConsumerContext<C>, R>>,
    revocation: u64,
) {
    let Some(inner) = consumer.upgrade() else { return };
    let consumer = StreamConsumer { kafka: inner.context().kafka(), inner };
    let context = consumer.context();
    let _releasing = context.releasing();
    let Some((list, loops)) = context.drain().take_overdue(revocation) else { return };
    for positions in loops {
        let is_revoked =
            |(topic, partition): &TopicPartition| list.find_partition(topic, *partition).is_some();
        give_back(&consumer, &positions, is_revoked);
    }
    context.release(&consumer, Some(list));
}

impl<C: ConsumerContext + 'static, R> Drop for Adapter<'_, C, R> {
    fn drop(&mut self) {
        let paused = std::mem::take(&mut *self.paused());
        let _ = self.consumer.inner.resume(&list_of(&paused));
        let context = self.consumer.context();
        let _releasing = context.releasing();
        self.give_back(|_| true);
        let released = context.drain().end(self.id);
        context.release(self.consumer, released);
    }
}

impl<C: ConsumerContext + 'static, R: AsyncRuntime> LaneGate<TopicPartition> for Adapter<'_, C, R> {
    fn is_closing(&self) -> bool {
        self.consumer.context().drain().is_draining(self.id)
    }

    fn register(&self, waker: &Waker) {
        self.consumer.context().drain().register(self.id, waker);
    }

    fn closes(&self, (topic, partition): &TopicPartition) -> bool {
        self.consumer.context().drain().is_revoked(self.id, topic, *partition)
    }

    fn is_lost(&self) -> bool {
        let is_overdue = self.consumer.context().drain().is_overdue(self.id);
        is_overdue || self.consumer.assignment_lost()
    }

    fn release(&self) {
        let context = self.consumer.context();
        let _releasing = context.releasing();
        self.give_back(|(topic, partition)| context.drain().is_revoked(self.id, topic, *partition));
        let released = context.drain().release(self.id);
        context.release(self.consumer, released);
    }

    fn pause(&self, lane: &TopicPartition) -> bool {
        let is_paused = self.consumer.inner.pause(&list_of(std::slice::from_ref(lane))).is_ok();
        if is_paused {
            self.paused().push(lane.clone());
        }
        is_paused
    }

    fn resume(&self, lane: &TopicPartition) {
        self.paused().retain(|paused| paused != lane);
        // Fails if the partition has been revoked, which ends the pause as well.
        let _ = self.consumer.inner.resume(&list_of(std::slice::from_ref(lane)));
    }

    async fn delay(&self, duration: Duration) {
        R::delay_for(duration).await;
    }
}

fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
