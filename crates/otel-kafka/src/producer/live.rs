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
use rdkafka::message::ToBytes;
use rdkafka::producer::BaseRecord;

use crate::kafka::Kafka;
use crate::outcome;
use crate::producer::sending::{self, Parts, Produce, Resend, Sent};

/// The wrapped producer. The delivery reports hold a reference to it for resending; dropping this type removes that
/// reference first.
pub(crate) struct Live<P: Produce<O> + 'static, O: Send + Sync + 'static> {
    producer: Arc<P>,
    opaque: std::marker::PhantomData<fn(O)>,
}

impl<P: Produce<O> + 'static, O: Send + Sync + 'static> Live<P, O> {
    pub(crate) fn new(producer: P, kafka: &Kafka) -> Arc<Self> {
        let live = Self { producer: Arc::new(producer), opaque: std::marker::PhantomData };
        live.resend_with(kafka);
        Arc::new(live)
    }

    /// Makes the delivery reports resend records through this producer and count them with `kafka`.
    pub(crate) fn resend_with(&self, kafka: &Kafka) {
        let producer: Arc<dyn Produce<O>> = Arc::clone(&self.producer) as _;
        self.producer.shared().resend_by(Some(Resend { producer, kafka: kafka.clone() }));
    }

    /// Enqueues a record whose `send` operation has started.
    pub(crate) fn enqueue<'a>(
        &self,
        kafka: &Kafka,
        record: Sent<'a, O>,
    ) -> Result<(), (KafkaError, Sent<'a, O>)> {
        sending::enqueue(kafka, &*self.producer, record)
    }

    /// Sends a record of rdkafka's `BaseProducer` or `ThreadedProducer`.
    pub(crate) fn send<'a, K, V>(
        &self,
        kafka: &Kafka,
        record: BaseRecord<'a, K, V, O>,
    ) -> Result<(), (KafkaError, BaseRecord<'a, K, V, O>)>
    where
        K: ToBytes + ?Sized,
        V: ToBytes + ?Sized,
        O: rdkafka::IntoOpaque,
    {
        let BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque } = record;
        let parts = Parts {
            topic,
            partition,
            payload: payload.map(ToBytes::to_bytes),
            key: key.map(ToBytes::to_bytes),
            timestamp,
        };
        let sent = sending::begin(kafka, parts, headers, delivery_opaque);
        self.enqueue(kafka, sent).map_err(|(error, sent)| {
            let (headers, delivery_opaque) = sending::refused(&error, sent);
            let record = BaseRecord { topic, partition, payload, key, timestamp, headers, delivery_opaque };
            (error, record)
        })
    }

    /// Runs and records an operation of a transaction.
    pub(crate) fn transaction(
        &self,
        kafka: &Kafka,
        name: &'static str,
        run: impl FnOnce() -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        let start = kafka.messaging().no_destination().other(name);
        let operation = start.start(&Context::current(), |_| {});
        let result = run();
        operation.finish(&outcome::of_result(&result));
        result
    }

    pub(crate) fn abort(&self, kafka: &Kafka, run: impl FnOnce() -> KafkaResult<()>) -> KafkaResult<()> {
        self.transaction(kafka, "abort_transaction", || self.producer.shared().abort(run))
    }
}

impl<P: Produce<O> + 'static, O: Send + Sync + 'static> Deref for Live<P, O> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.producer
    }
}

impl<P: Produce<O> + 'static, O: Send + Sync + 'static> Drop for Live<P, O> {
    fn drop(&mut self) {
        self.producer.shared().resend_by(None);
    }
}

/// Implements the methods of rdkafka's `Producer` for a type with fields `live` and `kafka`. Operations of
/// transactions are recorded.
macro_rules! producer_methods {
    ($context:ty) => {
        fn client(&self) -> &rdkafka::client::Client<$context> {
            self.live.client()
        }

        fn in_flight_count(&self) -> i32 {
            self.live.in_flight_count()
        }

        fn flush<T: Into<rdkafka::util::Timeout>>(&self, timeout: T) -> KafkaResult<()> {
            self.live.flush(timeout)
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
            let committed = crate::attributes::Committed::of(offsets);
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
