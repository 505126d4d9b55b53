//! The context that rdkafka calls back: it records automatic commits and rebalances, then calls the user's context.
//! It also defers a revocation until the adapter of `for_each_concurrent` has finished its messages.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use otel_operation::Outcome;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{self as bare, Consumer, DefaultConsumerContext, Rebalance, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use crate::attributes::CommitTarget;
#[cfg(feature = "tracing")]
use crate::attributes::REBALANCE_EVENT;
use crate::consumer::drain::Drain;
use crate::consumer::hook_consumer::HookConsumer;
use crate::consumer::leave::Membership;
use crate::consumer::positions::TopicPartition;
use crate::consumer::settle::{COMMIT, settle};
use crate::context::client_context;
use crate::kafka::ClientInstrumentation;
use crate::outcome;

/// The replacement for rdkafka's `ConsumerContext`, to be implemented for a user's context.
///
/// It has the methods of rdkafka's trait with two differences: the rebalance hooks receive
/// `&impl Consumer<TracedConsumerContext<Self>>`, and `rebalance` cannot be overridden.
///
/// ```
/// use otel_kafka::{ConsumerContext, StreamConsumer, TracedConsumerContext};
/// use rdkafka::consumer::{Consumer, Rebalance};
/// use rdkafka::ClientContext;
///
/// struct Mine;
///
/// impl ClientContext for Mine {}
///
/// impl ConsumerContext for Mine {
///     fn post_rebalance(&self, consumer: &impl Consumer<TracedConsumerContext<Self>>, _: &Rebalance<'_>) {
///         let _ = consumer.position();
///     }
/// }
///
/// type MyConsumer = StreamConsumer<Mine>;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a context of an instrumented consumer",
    note = "implement `otel_kafka::ConsumerContext` in place of rdkafka's trait of the same name"
)]
pub trait ConsumerContext: ClientContext + Sized {
    /// Called before partitions are assigned or revoked.
    fn pre_rebalance(
        &self,
        consumer: &impl Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        let _ = (consumer, rebalance);
    }

    /// Called after partitions were assigned or revoked.
    fn post_rebalance(
        &self,
        consumer: &impl Consumer<TracedConsumerContext<Self>>,
        rebalance: &Rebalance<'_>,
    ) {
        let _ = (consumer, rebalance);
    }

    /// Called after an automatic commit.
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let _ = (result, offsets);
    }

    /// Returns the longest time that one poll may block before it serves other events.
    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_secs(1))
    }
}

impl ConsumerContext for DefaultConsumerContext {}

/// The context of a consumer, which records commits and rebalances. It dereferences to the user's context.
pub struct TracedConsumerContext<C> {
    inner: C,
    kafka: RwLock<ClientInstrumentation>,
    drain: Mutex<Drain>,
    membership: Membership,
    /// Held while partitions are given back and released, which two threads may do.
    releasing: Mutex<()>,
    /// How often the group has assigned each partition to this consumer.
    assignments: Mutex<HashMap<TopicPartition, u64>>,
}

impl<C> TracedConsumerContext<C> {
    pub(crate) fn kafka(&self) -> ClientInstrumentation {
        self.kafka.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<C: ConsumerContext> TracedConsumerContext<C> {
    pub(crate) fn new(inner: C, kafka: ClientInstrumentation, membership: Membership) -> Self {
        let kafka = RwLock::new(kafka);
        Self {
            inner,
            kafka,
            drain: Mutex::default(),
            membership,
            releasing: Mutex::default(),
            assignments: Mutex::default(),
        }
    }

    /// Returns the number of the current assignment of a partition.
    pub(crate) fn assignment(&self, partition: &TopicPartition) -> u64 {
        self.assignments().get(partition).copied().unwrap_or_default()
    }

    fn assignments(&self) -> MutexGuard<'_, HashMap<TopicPartition, u64>> {
        self.assignments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn record_with(&self, kafka: ClientInstrumentation) {
        *self.kafka.write().unwrap_or_else(PoisonError::into_inner) = kafka;
    }

    /// Returns the state that defers revocations.
    pub(crate) fn drain(&self) -> MutexGuard<'_, Drain> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the guard under which partitions are given back and released.
    pub(crate) fn releasing(&self) -> MutexGuard<'_, ()> {
        self.releasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases partitions whose revocation was deferred.
    pub(crate) fn release(&self, consumer: &impl Consumer<Self>, revoked: Option<TopicPartitionList>) {
        if let Some(revoked) = revoked {
            self.answer(consumer, &Rebalance::Revoke(&revoked));
        }
    }

    /// Performs a rebalance as rdkafka's default implementation does. The group waits until this is done.
    fn answer(&self, consumer: &impl Consumer<Self>, rebalance: &Rebalance<'_>) {
        self.inner.pre_rebalance(consumer, rebalance);
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let result = match rebalance {
            Rebalance::Assign(list) if cooperative => consumer.incremental_assign(list),
            Rebalance::Assign(list) => consumer.assign(list),
            Rebalance::Revoke(list) if cooperative => consumer.incremental_unassign(list),
            Rebalance::Revoke(_) | Rebalance::Error(_) => consumer.unassign(),
        };
        // rdkafka ignores this error too. The call fails while the consumer is being closed.
        let _ = result;
        self.inner.post_rebalance(consumer, rebalance);
    }

    fn record_rebalance(&self, rebalance: &Rebalance<'_>) {
        let kafka = self.kafka();
        let (kind, partitions) = match rebalance {
            Rebalance::Assign(list) => ("assign", list.count()),
            Rebalance::Revoke(list) => ("revoke", list.count()),
            Rebalance::Error(_) => ("error", 0),
        };
        kafka.count_rebalance(kind);
        #[cfg(feature = "tracing")]
        {
            let group = kafka.group().unwrap_or_default();
            if let Rebalance::Error(error) = rebalance {
                tracing::error!(name: REBALANCE_EVENT, group, kind, %error, "rebalance failed, partitions are released");
            } else {
                tracing::info!(name: REBALANCE_EVENT, group, kind, partitions, "group rebalanced");
            }
        }
        #[cfg(not(feature = "tracing"))]
        let _ = partitions;
    }
}

impl<C> Deref for TracedConsumerContext<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner
    }
}

impl<C> fmt::Debug for TracedConsumerContext<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedConsumerContext").field("kafka", &self.kafka).finish_non_exhaustive()
    }
}

impl<C: ClientContext> ClientContext for TracedConsumerContext<C> {
    client_context!(|context: &Self, statistics: &[u8]| context.kafka().observe_statistics(statistics));
}

impl<C: ConsumerContext> bare::ConsumerContext for TracedConsumerContext<C> {
    fn rebalance(
        &self,
        consumer: &bare::BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        // librdkafka never answers a closed consumer's calls. An event that its queue still has changes nothing.
        if consumer.closed() {
            return;
        }
        let rebalance = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => Rebalance::Revoke(list),
            other => Rebalance::Error(KafkaError::Rebalance(other.into())),
        };
        self.record_rebalance(&rebalance);
        if let Rebalance::Assign(list) = &rebalance {
            let mut assignments = self.assignments();
            for partition in list.elements() {
                *assignments.entry((partition.topic().to_owned(), partition.partition())).or_default() += 1;
            }
        }
        if let Rebalance::Revoke(list) = &rebalance
            && self.drain().put_off(list)
        {
            return;
        }
        self.answer(&HookConsumer { inner: consumer, kafka: self.kafka() }, &rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let nothing = result.as_ref().err().and_then(KafkaError::rdkafka_error_code)
            == Some(RDKafkaErrorCode::NoOffset);
        if !nothing {
            let settling = settle(&self.kafka(), COMMIT, &CommitTarget::from_list(offsets), None);
            settling.finish(&result.as_ref().map_or_else(outcome::of_error, |()| Outcome::ok()));
        }
        self.inner.commit_callback(result, offsets);
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        self.inner.main_queue_min_poll_interval()
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use super::*;

    use std::sync::Arc;

    use rdkafka::ClientConfig;
    use tracing::subscriber::Interest;
    use tracing::{Event, Level, Metadata, Subscriber, span};

    /// Keeps the levels of events.
    #[derive(Clone, Default)]
    struct Levels(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Levels {
        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            Interest::sometimes()
        }

        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(*event.metadata().level());
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_failed_rebalance_is_logged_as_an_error() {
        let config = ClientConfig::new();
        let kafka = ClientInstrumentation::from_config(&config);
        let membership = Membership::from_config(&config);
        let context = TracedConsumerContext::new(DefaultConsumerContext, kafka, membership);
        let (levels, list) = (Levels::default(), TopicPartitionList::new());
        let error = KafkaError::Rebalance(RDKafkaErrorCode::Fail);
        tracing::subscriber::with_default(levels.clone(), || {
            context.record_rebalance(&Rebalance::Assign(&list));
            context.record_rebalance(&Rebalance::Error(error));
        });
        assert_eq!(*levels.0.lock().unwrap(), [Level::INFO, Level::ERROR]);
    }
}
