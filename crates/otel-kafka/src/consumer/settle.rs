//! The `settle` operations of a consumer: commits, and offsets that are stored for a later commit.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): each settlement is a
//! `settle` operation.

use opentelemetry::Context;
use otel_messaging::MessagingOperation;
use rdkafka::Message as _;
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;

use crate::attributes::{CommitTarget, offset};
use crate::carrier::HeaderExtractor;
use crate::kafka::ClientInstrumentation;
use crate::outcome;

/// Kafka's names for settlements.
pub(crate) const COMMIT: &str = "commit";
pub(crate) const STORE_OFFSET: &str = "store_offset";

/// Starts a settlement of the given partitions, with a link to the message whose context is given.
pub(crate) fn settle(
    kafka: &ClientInstrumentation,
    name: &'static str,
    committed: &CommitTarget,
    message: Option<&Context>,
) -> MessagingOperation {
    let destination = committed.topic.as_deref().map(|topic| kafka.topic(topic));
    let destination = destination.as_ref().unwrap_or_else(|| kafka.messaging().no_destination());
    let mut settle = destination.settle(name);
    if let Some(message) = message {
        settle = settle.with_message(message);
    }
    settle.start(&Context::current(), |attributes| {
        if let Some((partition, at)) = committed.partition {
            attributes.partition_id(i64::from(partition));
            if let Some(at) = offset(at) {
                attributes.push(at);
            }
        }
    })
}

/// Returns false for stored offsets, unless the user's options include them.
pub(crate) fn is_recorded(kafka: &ClientInstrumentation, name: &str) -> bool {
    name != STORE_OFFSET || kafka.messaging().records_stored_offsets()
}

/// Runs a settlement and records its outcome. The operation of an asynchronous commit ends when the request is
/// queued.
pub(crate) fn settling(
    kafka: &ClientInstrumentation,
    name: &'static str,
    committed: &CommitTarget,
    run: impl FnOnce() -> KafkaResult<()>,
) -> KafkaResult<()> {
    if !is_recorded(kafka, name) {
        return run();
    }
    settle(kafka, name, committed, None).run_sync(run, outcome::of_result)
}

/// Settles one message, with a link to it.
pub(crate) fn settling_message(
    kafka: &ClientInstrumentation,
    name: &'static str,
    message: &BorrowedMessage<'_>,
    run: impl FnOnce() -> KafkaResult<()>,
) -> KafkaResult<()> {
    if !is_recorded(kafka, name) {
        return run();
    }
    let committed = CommitTarget {
        topic: Some(message.topic().to_owned()),
        partition: Some((message.partition(), message.offset())),
    };
    let carried = kafka.messaging().extract_without_baggage(&HeaderExtractor::from_message(message));
    settle(kafka, name, &committed, Some(&carried)).run_sync(run, outcome::of_result)
}

/// Implements the methods of rdkafka's `Consumer` for a type with fields `inner` and `kafka`. Settlements are
/// recorded.
macro_rules! consumer_methods {
    ($context:ty) => {
        fn commit(&self, list: &TopicPartitionList, mode: CommitMode) -> KafkaResult<()> {
            settling(&self.kafka, COMMIT, &CommitTarget::from_list(list), || self.inner.commit(list, mode))
        }

        fn commit_consumer_state(&self, mode: CommitMode) -> KafkaResult<()> {
            settling(&self.kafka, COMMIT, &CommitTarget::default(), || self.inner.commit_consumer_state(mode))
        }

        fn commit_message(
            &self,
            message: &rdkafka::message::BorrowedMessage<'_>,
            mode: CommitMode,
        ) -> KafkaResult<()> {
            settling_message(&self.kafka, COMMIT, message, || self.inner.commit_message(message, mode))
        }

        fn store_offset(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<()> {
            let stored = CommitTarget { topic: Some(topic.to_owned()), partition: Some((partition, offset)) };
            settling(&self.kafka, STORE_OFFSET, &stored, || self.inner.store_offset(topic, partition, offset))
        }

        fn store_offset_from_message(
            &self,
            message: &rdkafka::message::BorrowedMessage<'_>,
        ) -> KafkaResult<()> {
            settling_message(&self.kafka, STORE_OFFSET, message, || {
                self.inner.store_offset_from_message(message)
            })
        }

        fn store_offsets(&self, list: &TopicPartitionList) -> KafkaResult<()> {
            settling(&self.kafka, STORE_OFFSET, &CommitTarget::from_list(list), || {
                self.inner.store_offsets(list)
            })
        }

        fn client(&self) -> &Client<$context> {
            self.inner.client()
        }

        fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
            self.inner.group_metadata()
        }

        fn subscribe(&self, topics: &[&str]) -> KafkaResult<()> {
            self.inner.context().membership().subscribed();
            self.inner.subscribe(topics)
        }

        fn unsubscribe(&self) {
            self.inner.unsubscribe();
        }

        fn assign(&self, assignment: &TopicPartitionList) -> KafkaResult<()> {
            self.inner.assign(assignment)
        }

        fn unassign(&self) -> KafkaResult<()> {
            self.inner.unassign()
        }

        fn incremental_assign(&self, assignment: &TopicPartitionList) -> KafkaResult<()> {
            self.inner.incremental_assign(assignment)
        }

        fn incremental_unassign(&self, assignment: &TopicPartitionList) -> KafkaResult<()> {
            self.inner.incremental_unassign(assignment)
        }

        fn seek<T: Into<Timeout>>(
            &self,
            topic: &str,
            partition: i32,
            offset: Offset,
            timeout: T,
        ) -> KafkaResult<()> {
            self.inner.seek(topic, partition, offset, timeout)
        }

        fn seek_partitions<T: Into<Timeout>>(
            &self,
            list: TopicPartitionList,
            timeout: T,
        ) -> KafkaResult<TopicPartitionList> {
            self.inner.seek_partitions(list, timeout)
        }

        fn subscription(&self) -> KafkaResult<TopicPartitionList> {
            self.inner.subscription()
        }

        fn assignment(&self) -> KafkaResult<TopicPartitionList> {
            self.inner.assignment()
        }

        fn assignment_lost(&self) -> bool {
            self.inner.assignment_lost()
        }

        fn committed<T: Into<Timeout>>(&self, timeout: T) -> KafkaResult<TopicPartitionList> {
            self.inner.committed(timeout)
        }

        fn committed_offsets<T: Into<Timeout>>(
            &self,
            list: TopicPartitionList,
            timeout: T,
        ) -> KafkaResult<TopicPartitionList> {
            self.inner.committed_offsets(list, timeout)
        }

        fn offsets_for_timestamp<T: Into<Timeout>>(
            &self,
            timestamp: i64,
            timeout: T,
        ) -> KafkaResult<TopicPartitionList> {
            self.inner.offsets_for_timestamp(timestamp, timeout)
        }

        fn offsets_for_times<T: Into<Timeout>>(
            &self,
            timestamps: TopicPartitionList,
            timeout: T,
        ) -> KafkaResult<TopicPartitionList> {
            self.inner.offsets_for_times(timestamps, timeout)
        }

        fn position(&self) -> KafkaResult<TopicPartitionList> {
            self.inner.position()
        }

        fn fetch_metadata<T: Into<Timeout>>(&self, topic: Option<&str>, timeout: T) -> KafkaResult<Metadata> {
            self.inner.fetch_metadata(topic, timeout)
        }

        fn fetch_watermarks<T: Into<Timeout>>(
            &self,
            topic: &str,
            partition: i32,
            timeout: T,
        ) -> KafkaResult<(i64, i64)> {
            self.inner.fetch_watermarks(topic, partition, timeout)
        }

        fn fetch_group_list<T: Into<Timeout>>(
            &self,
            group: Option<&str>,
            timeout: T,
        ) -> KafkaResult<GroupList> {
            self.inner.fetch_group_list(group, timeout)
        }

        fn pause(&self, partitions: &TopicPartitionList) -> KafkaResult<()> {
            self.inner.pause(partitions)
        }

        fn resume(&self, partitions: &TopicPartitionList) -> KafkaResult<()> {
            self.inner.resume(partitions)
        }

        fn rebalance_protocol(&self) -> RebalanceProtocol {
            self.inner.rebalance_protocol()
        }
    };
}
pub(crate) use consumer_methods;
