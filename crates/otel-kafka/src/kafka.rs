//! The instrumentation of one client: its destinations, and the counters that are specific to Kafka.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Messaging attributes".

use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use otel_messaging::attributes::SCHEMA_URL;
use otel_messaging::{ClientCounter, Destination, DestinationDescription, MessagingInstrumentation};
use rdkafka::ClientConfig;

use crate::attributes::{ClientFacts, SYSTEM};
use crate::config::Options;
use crate::metrics;
use crate::statistics::StatisticsGauges;

/// The instrumentation of a producer or a consumer. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct ClientInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    facts: ClientFacts,
    messaging: MessagingInstrumentation,
    /// Messages that were sent without their context.
    context_dropped: ClientCounter,
    rebalances: ClientCounter,
    gauges: StatisticsGauges,
}

impl ClientInstrumentation {
    pub(crate) fn from_config(config: &ClientConfig) -> Self {
        Self::new(ClientFacts::from_config(config), Options::new())
    }

    /// Returns the instrumentation of the same client with other options.
    pub(crate) fn with_options(&self, options: Options) -> Self {
        Self::new(self.0.facts.clone(), options)
    }

    fn new(facts: ClientFacts, options: Options) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let messaging = MessagingInstrumentation::builder(SYSTEM, scope)
            .with_client_id(facts.client_id.as_deref())
            .with_server(facts.server.as_ref().map(|(address, port)| (&**address, *port)))
            .with_consumer_group(facts.group.as_deref())
            .build(options);
        let context_dropped = metrics::context_dropped(&messaging);
        let rebalances = metrics::rebalances(&messaging);
        let gauges = StatisticsGauges::default();
        Self(Arc::new(Inner { facts, messaging, context_dropped, rebalances, gauges }))
    }

    pub(crate) fn messaging(&self) -> &MessagingInstrumentation {
        &self.0.messaging
    }

    pub(crate) fn facts(&self) -> &ClientFacts {
        &self.0.facts
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn group(&self) -> Option<&str> {
        self.0.facts.group.as_deref()
    }

    /// Returns the destination for a topic.
    #[inline]
    pub(crate) fn topic(&self, name: &str) -> Destination {
        self.0.messaging.destination(&[name], || DestinationDescription::new().with_name(name))
    }

    pub(crate) fn count_context_dropped(&self) {
        self.0.context_dropped.add(1);
    }

    /// Takes the values of the gauges from librdkafka's statistics.
    pub(crate) fn observe_statistics(&self, statistics: &[u8]) {
        self.0.gauges.observe(self, statistics);
    }

    /// Counts a rebalance. `kind` is `assign`, `revoke` or `error`.
    pub(crate) fn count_rebalance(&self, kind: &'static str) {
        self.0.rebalances.add_with(metrics::REBALANCE, kind, 1);
    }
}
