//! The consumer that rebalance hooks receive.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): a commit in a hook, usual before
//! partitions are released, is a `settle` operation as any other.

use rdkafka::client::Client;
use rdkafka::consumer::{self as bare, CommitMode, Consumer, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::groups::GroupList;
use rdkafka::metadata::Metadata;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use crate::attributes::CommitTarget;
use crate::consumer::context::{ConsumerContext, TracedConsumerContext};
use crate::consumer::settle::{COMMIT, STORE_OFFSET, consumer_methods, settling, settling_message};
use crate::kafka::ClientInstrumentation;

/// The consumer of a rebalance callback, whose settlements are recorded.
pub(crate) struct HookConsumer<'a, C: ConsumerContext> {
    pub(crate) inner: &'a bare::BaseConsumer<TracedConsumerContext<C>>,
    pub(crate) kafka: ClientInstrumentation,
}

impl<C: ConsumerContext> Consumer<TracedConsumerContext<C>> for HookConsumer<'_, C> {
    consumer_methods!(TracedConsumerContext<C>);
}
