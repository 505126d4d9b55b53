//! The producers that report deliveries to a context: `BaseProducer` and `ThreadedProducer`.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans", and [their
//! page on Kafka](https://opentelemetry.io/docs/specs/semconv/messaging/kafka/).

mod context;
mod future;
mod in_flight;
mod limits;
mod live;
mod sending;
mod settings;
mod shared;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::ToBytes;
use rdkafka::producer::{
    self as bare, BaseRecord, DefaultProducerContext, NoCustomPartitioner, Partitioner, Producer,
    ProducerContext,
};
use rdkafka::util::Timeout;

use crate::config::Options;
use crate::kafka::ClientInstrumentation;
use crate::producer::in_flight::TracedRecord;
use crate::producer::live::{InstrumentedProducer, limit_methods, producer_methods, resume_panic};
use crate::producer::settings::ProducerSettings;
use crate::producer::shared::{RawProducer, Shared};

pub use crate::producer::context::TracedProducerContext;
pub use crate::producer::future::{DeliveryFuture, FutureProducer, FutureProducerContext};

type Opaque<C, Part> = <C as ProducerContext<Part>>::DeliveryOpaque;

/// Defines a producer. The two differ only in the wrapped type, and in that `ThreadedProducer` implements `Clone`.
macro_rules! producer {
    ($(#[$doc:meta])* $name:ident, polled by its $poller:ident) => {
        $(#[$doc])*
        pub struct $name<C = DefaultProducerContext, Part = NoCustomPartitioner>
        where
            Part: Partitioner + Send + Sync + 'static,
            C: ProducerContext<Part> + 'static,
        {
            live: Arc<InstrumentedProducer<bare::$name<TracedProducerContext<C, Part>, Part>, Opaque<C, Part>>>,
            kafka: ClientInstrumentation,
        }

        impl<C, Part> RawProducer<Opaque<C, Part>> for bare::$name<TracedProducerContext<C, Part>, Part>
        where
            Part: Partitioner + Send + Sync + 'static,
            C: ProducerContext<Part> + 'static,
        {
            fn produce<'a>(
                &self,
                record: TracedRecord<'a, Opaque<C, Part>>,
            ) -> Result<(), (KafkaError, TracedRecord<'a, Opaque<C, Part>>)> {
                self.send(record)
            }

            fn shared(&self) -> &Shared<Opaque<C, Part>> {
                &self.client().context().shared
            }
        }

        impl<C, Part> $name<C, Part>
        where
            Part: Partitioner + Send + Sync + 'static,
            C: ProducerContext<Part> + 'static,
        {
            /// Replaces the options.
            #[must_use = "it is the producer"]
            pub fn with_options(mut self, options: Options) -> Self {
                self.kafka = self.kafka.with_options(options);
                self.live.install_resender(&self.kafka);
                self
            }

            limit_methods!();

            /// Enqueues a record, and starts its `send` span. The delivery report ends the span.
            ///
            /// # Errors
            /// Returns rdkafka's error and the unchanged record if the record could not be enqueued.
            #[expect(clippy::result_large_err, reason = "rdkafka gives the record back in this way")]
            pub fn send<'a, K, P>(
                &self,
                record: BaseRecord<'a, K, P, C::DeliveryOpaque>,
            ) -> Result<(), (KafkaError, BaseRecord<'a, K, P, C::DeliveryOpaque>)>
            where
                K: ToBytes + ?Sized,
                P: ToBytes + ?Sized,
            {
                self.live.send(&self.kafka, record)
            }

            /// Serves delivery reports and other events until `timeout` expires.
            pub fn poll<T: Into<Timeout>>(&self, timeout: T) {
                (**self.live).poll(timeout);
                resume_panic!($poller, self.live);
            }
        }

        impl FromClientConfig for $name {
            fn from_config(config: &ClientConfig) -> KafkaResult<Self> {
                Self::from_config_and_context(config, DefaultProducerContext)
            }
        }

        impl<C, Part> FromClientConfigAndContext<C> for $name<C, Part>
        where
            Part: Partitioner + Send + Sync + 'static,
            C: ProducerContext<Part> + 'static,
        {
            fn from_config_and_context(config: &ClientConfig, context: C) -> KafkaResult<Self> {
                let context = TracedProducerContext::new(context, ProducerSettings::from_config(config));
                let inner = bare::$name::from_config_and_context(config, context)?;
                let kafka = ClientInstrumentation::from_config(config);
                Ok(Self { live: InstrumentedProducer::new(inner, &kafka), kafka })
            }
        }

        impl<C, Part> Producer<TracedProducerContext<C, Part>, Part> for $name<C, Part>
        where
            Part: Partitioner + Send + Sync + 'static,
            C: ProducerContext<Part> + 'static,
        {
            producer_methods!(TracedProducerContext<C, Part>, $poller);
        }

        impl<C, Part> Deref for $name<C, Part>
        where
            Part: Partitioner + Send + Sync + 'static,
            C: ProducerContext<Part> + 'static,
        {
            type Target = bare::$name<TracedProducerContext<C, Part>, Part>;

            fn deref(&self) -> &Self::Target {
                &self.live
            }
        }

        impl<C, Part> fmt::Debug for $name<C, Part>
        where
            Part: Partitioner + Send + Sync + 'static,
            C: ProducerContext<Part> + 'static,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("kafka", &self.kafka).finish_non_exhaustive()
            }
        }
    };
}

producer! {
    /// rdkafka's `BaseProducer`, which the application polls. Other methods are available through `Deref` and
    /// rdkafka's trait `Producer`.
    BaseProducer, polled by its caller
}

producer! {
    /// rdkafka's `ThreadedProducer`, which is polled by its own thread. Other methods are available through `Deref`
    /// and rdkafka's trait `Producer`. Clones share the producer.
    #[must_use = "The threaded producer will stop immediately if unused"]
    ThreadedProducer, polled by its thread
}

impl<C, Part> Clone for ThreadedProducer<C, Part>
where
    Part: Partitioner + Send + Sync + 'static,
    C: ProducerContext<Part> + 'static,
{
    fn clone(&self) -> Self {
        Self { live: Arc::clone(&self.live), kafka: self.kafka.clone() }
    }
}
