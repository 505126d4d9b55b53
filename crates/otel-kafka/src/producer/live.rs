//! The instrumented producer that the three producer types share, and their implementation of rdkafka's `Producer`.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), which define no operation
//! type for the operations of a transaction.

#![expect(clippy::result_large_err, reason = "rdkafka gives a record back in this way")]

use std::ops::Deref;
use std::sync::Arc;

use opentelemetry::Context;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{OwnedHeaders, ToBytes};
use rdkafka::producer::BaseRecord;

use crate::kafka::ClientInstrumentation;
use crate::outcome;
use crate::producer::in_flight::{RecordParts, StartedRecord};
use crate::producer::sending;
use crate::producer::shared::{RawProducer, Resend};

/// The wrapped producer. The delivery reports hold a reference to it for resending; dropping this type removes that
/// reference first.
pub(crate) struct InstrumentedProducer<P: RawProducer<O> + 'static, O: Send + Sync + 'static> {
    producer: Arc<P>,
    opaque: std::marker::PhantomData<fn(O)>,
}

impl<P: RawProducer<O> + 'static, O: Send + Sync + 'static> InstrumentedProducer<P, O> {
    pub(crate) fn new(producer: P, kafka: &ClientInstrumentation) -> Arc<Self> {
        let live = Self { producer: Arc::new(producer), opaque: std::marker::PhantomData };
        live.install_resender(kafka);
        Arc::new(live)
    }

    /// Makes the delivery reports resend records through this producer and count them with `kafka`.
    pub(crate) fn install_resender(&self, kafka: &ClientInstrumentation) {
        let producer: Arc<dyn RawProducer<O>> = Arc::clone(&self.producer) as _;
        self.producer.shared().resend_by(Some(Resend { producer, kafka: kafka.clone() }));
    }

    /// Starts the `send` operation of a record.
    pub(crate) fn begin<'a>(
        &self,
        kafka: &ClientInstrumentation,
        parts: RecordParts<'a>,
        headers: Option<OwnedHeaders>,
        opaque: O,
    ) -> StartedRecord<'a, O> {
        sending::begin(kafka, self.producer.shared(), parts, headers, opaque)
    }

    /// Enqueues a record whose `send` operation has started.
    pub(crate) fn enqueue<'a>(
        &self,
        kafka: &ClientInstrumentation,
        record: StartedRecord<'a, O>,
    ) -> Result<(), (KafkaError, StartedRecord<'a, O>)> {
        sending::enqueue(kafka, &*self.producer, record)
    }

    /// Sends a record of rdkafka's `BaseProducer` or `ThreadedProducer`.
    pub(crate) fn send<'a, K, V>(
        &self,
        kafka: &ClientInstrumentation,
        record: BaseRecord<'a, K, V, O>,
    ) -> Result<(), (KafkaError, BaseRecord<'a, K, V, O>)>
    where
        K: ToBytes + ?Sized,
        V: ToBytes + ?Sized,
        O: rdkafka::IntoOpaque,
    {
        let BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque } = record;
        let parts = RecordParts {
            topic,
            partition,
            payload: payload.map(ToBytes::to_bytes),
            key: key.map(ToBytes::to_bytes),
            timestamp,
        };
        let sent = self.begin(kafka, parts, headers, delivery_opaque);
        let Err((error, sent)) = self.enqueue(kafka, sent) else { return Ok(()) };
        let (headers, opaque) = sending::finish_rejected(&error, sent);
        // It always has its opaque, because librdkafka does not have the record.
        let Some(delivery_opaque) = opaque else { return Ok(()) };
        Err((error, BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque }))
    }

    /// Runs and records an operation of a transaction.
    pub(crate) fn transaction(
        &self,
        kafka: &ClientInstrumentation,
        name: &'static str,
        run: impl FnOnce() -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        let operation = kafka.messaging().transaction(name).start(&Context::current(), |_| {});
        operation.run_sync(run, outcome::of_result)
    }

    pub(crate) fn abort(
        &self,
        kafka: &ClientInstrumentation,
        run: impl FnOnce() -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        self.transaction(kafka, "abort_transaction", || self.producer.shared().abort(run))
    }
}

impl<P: RawProducer<O> + 'static, O: Send + Sync + 'static> Deref for InstrumentedProducer<P, O> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.producer
    }
}

impl<P: RawProducer<O> + 'static, O: Send + Sync + 'static> Drop for InstrumentedProducer<P, O> {
    fn drop(&mut self) {
        self.producer.shared().resend_by(None);
    }
}

/// Continues a panic of the user's delivery callback if the caller polls. A thread of the producer's own goes on.
macro_rules! resume_panic {
    (caller, $live:expr) => {
        $live.shared().resume_panic()
    };
    (thread, $live:expr) => {};
}
pub(crate) use resume_panic;

/// Implements the options for the limits of topics for a type with a field `live`.
macro_rules! limit_methods {
    () => {
        /// Sets the largest batch in bytes that a topic accepts (`max.message.bytes`). A record that would exceed it
        /// with injected headers is sent without them. Clones share the limits.
        #[must_use = "it is the producer"]
        pub fn with_topic_limit(self, topic: &str, bytes: usize) -> Self {
            self.live.shared().limits.set(topic, bytes);
            self
        }

        /// Looks up the limits of topics with this client: one `DescribeConfigs` request for a topic, when its first
        /// record is sent. Until the answer has arrived, or if it is an error, the limit is unknown. With the feature
        /// `tracing` the first failure is logged. Default: no lookup.
        #[must_use = "it is the producer"]
        pub fn with_topic_limits<A>(self, admin: rdkafka::admin::AdminClient<A>) -> Self
        where
            A: rdkafka::ClientContext + 'static,
        {
            self.live.shared().limits.look_up(admin);
            self
        }

        /// Sets the size in bytes up to which the records of a topic with an unknown limit get headers. Default:
        /// 65,536.
        #[must_use = "it is the producer"]
        pub fn with_safe_size(self, bytes: usize) -> Self {
            self.live.shared().limits.set_safe_size(bytes);
            self
        }

        /// Sends records of topics with an unknown limit without context, so that no topic refuses a record because of
        /// its headers.
        #[must_use = "it is the producer"]
        pub fn with_context_only_where_it_fits(self) -> Self {
            self.with_safe_size(0)
        }
    };
}
pub(crate) use limit_methods;

/// Implements the methods of rdkafka's `Producer` for a type with fields `live` and `kafka`. Operations of
/// transactions are recorded.
macro_rules! producer_methods {
    ($context:ty, $poller:ident) => {
        fn client(&self) -> &rdkafka::client::Client<$context> {
            self.live.client()
        }

        fn in_flight_count(&self) -> i32 {
            self.live.in_flight_count()
        }

        fn flush<T: Into<rdkafka::util::Timeout>>(&self, timeout: T) -> KafkaResult<()> {
            let result = self.live.flush(timeout);
            crate::producer::live::resume_panic!($poller, self.live);
            result
        }

        fn purge(&self, flags: rdkafka::producer::PurgeConfig) {
            self.live.purge(flags);
        }

        fn init_transactions<T: Into<rdkafka::util::Timeout>>(&self, timeout: T) -> KafkaResult<()> {
            self.live
                .transaction(&self.kafka, "init_transactions", || (**self.live).init_transactions(timeout))
        }

        fn begin_transaction(&self) -> KafkaResult<()> {
            self.live.transaction(&self.kafka, "begin_transaction", || (**self.live).begin_transaction())
        }

        fn send_offsets_to_transaction<T: Into<rdkafka::util::Timeout>>(
            &self,
            offsets: &rdkafka::TopicPartitionList,
            cgm: &rdkafka::consumer::ConsumerGroupMetadata,
            timeout: T,
        ) -> KafkaResult<()> {
            // A settlement: the transaction commits these offsets of the consumer.
            let committed = crate::attributes::CommitTarget::from_list(offsets);
            crate::consumer::settling(&self.kafka, "send_offsets_to_transaction", &committed, || {
                (**self.live).send_offsets_to_transaction(offsets, cgm, timeout)
            })
        }

        fn commit_transaction<T: Into<rdkafka::util::Timeout>>(&self, timeout: T) -> KafkaResult<()> {
            self.live
                .transaction(&self.kafka, "commit_transaction", || (**self.live).commit_transaction(timeout))
        }

        fn abort_transaction<T: Into<rdkafka::util::Timeout>>(&self, timeout: T) -> KafkaResult<()> {
            self.live.abort(&self.kafka, || (**self.live).abort_transaction(timeout))
        }
    };
}
pub(crate) use producer_methods;
