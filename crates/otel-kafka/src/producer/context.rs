//! The context that rdkafka calls back: it ends `send` spans, then calls the user's context.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{NoCustomPartitioner, Partitioner, ProducerContext};

use crate::context::client_context;
use crate::producer::in_flight::InFlightRecord;
use crate::producer::settings::ProducerSettings;
use crate::producer::shared::Shared;

/// The context of a [`BaseProducer`](crate::BaseProducer) or a [`ThreadedProducer`](crate::ThreadedProducer), which
/// ends `send` spans. It dereferences to the user's context.
pub struct TracedProducerContext<C, Part = NoCustomPartitioner>
where
    Part: Partitioner,
    C: ProducerContext<Part>,
{
    inner: C,
    pub(crate) shared: Shared<C::DeliveryOpaque>,
}

impl<C, Part> TracedProducerContext<C, Part>
where
    Part: Partitioner,
    C: ProducerContext<Part>,
{
    pub(crate) fn new(inner: C, settings: ProducerSettings) -> Self {
        Self { inner, shared: Shared::new(settings) }
    }
}

impl<C, Part> Deref for TracedProducerContext<C, Part>
where
    Part: Partitioner,
    C: ProducerContext<Part>,
{
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner
    }
}

impl<C, Part> fmt::Debug for TracedProducerContext<C, Part>
where
    Part: Partitioner,
    C: ProducerContext<Part>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedProducerContext").finish_non_exhaustive()
    }
}

impl<C, Part> ClientContext for TracedProducerContext<C, Part>
where
    Part: Partitioner,
    C: ProducerContext<Part>,
{
    client_context!(|context: &Self, statistics: &[u8]| context.shared.observe_statistics(statistics));
}

impl<C, Part> ProducerContext<Part> for TracedProducerContext<C, Part>
where
    Part: Partitioner,
    C: ProducerContext<Part>,
{
    type DeliveryOpaque = Arc<InFlightRecord<C::DeliveryOpaque>>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Self::DeliveryOpaque) {
        if let Some((opaque, _)) = self.shared.delivered(result, in_flight) {
            self.shared.call(|| self.inner.delivery(result, opaque));
        }
    }

    fn get_custom_partitioner(&self) -> Option<&Part> {
        self.inner.get_custom_partitioner()
    }
}
