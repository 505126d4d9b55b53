//! The instrumentation of one client: its destinations, its options, and the metrics that are specific to Kafka.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). They do not define the two
//! metrics that this module records.

use std::sync::Arc;

use opentelemetry::{InstrumentationScope, KeyValue};
use otel_messaging::attributes::{CONSUMER_GROUP_NAME, SCHEMA_URL, SYSTEM as MESSAGING_SYSTEM, bounded};
use otel_messaging::{Destination, DestinationDescription, MessagingInstrumentation};
use otel_operation::LazyInstruments;
use rdkafka::ClientConfig;

use crate::attributes::{ClientFacts, REBALANCE, SYSTEM};
use crate::config::Options;
use crate::metrics::KafkaInstruments;

/// The instrumentation of a producer or a consumer. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct ClientInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    facts: ClientFacts,
    messaging: MessagingInstrumentation,
    instruments: LazyInstruments<KafkaInstruments>,
    poll_spans: bool,
    lag: bool,
}

impl ClientInstrumentation {
    pub(crate) fn of(config: &ClientConfig) -> Self {
        Self::new(ClientFacts::of(config), Options::new())
    }

    /// Returns the instrumentation of the same client with other options.
    pub(crate) fn with_options(&self, options: Options) -> Self {
        Self::new(self.0.facts.clone(), options)
    }

    fn new(facts: ClientFacts, options: Options) -> Self {
        let Options { messaging, poll_spans, lag } = options;
        let server = facts.server.as_ref().map(|(address, port)| (&**address, *port));
        let messaging = messaging.or_client_id(facts.client_id.as_deref()).or_server(server);
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let instruments = messaging.providers().instruments(scope.clone(), KafkaInstruments::new);
        let messaging = MessagingInstrumentation::new(SYSTEM, scope, messaging);
        Self(Arc::new(Inner { facts, messaging, instruments, poll_spans, lag }))
    }

    pub(crate) fn messaging(&self) -> &MessagingInstrumentation {
        &self.0.messaging
    }

    pub(crate) fn polls(&self) -> bool {
        self.0.poll_spans
    }

    pub(crate) fn lag(&self) -> bool {
        self.0.lag
    }

    pub(crate) fn group(&self) -> Option<&str> {
        self.0.facts.group.as_deref()
    }

    /// Returns the destination for a topic, with the client's consumer group if it has one.
    #[inline]
    pub(crate) fn topic(&self, name: &str) -> Destination {
        self.0.messaging.destination(name, || {
            let parts = DestinationDescription::new().with_name(name);
            match self.group() {
                Some(group) => parts.with_consumer_group(group),
                None => parts,
            }
        })
    }

    /// Counts a message that was sent without its context.
    pub(crate) fn count_context_dropped(&self) {
        if let Some(instruments) = self.0.instruments.get() {
            instruments.context_dropped.add(1, &self.attributes());
        }
    }

    /// Counts a rebalance. `kind` is `assign`, `revoke` or `error`.
    pub(crate) fn count_rebalance(&self, kind: &'static str) {
        if let Some(instruments) = self.0.instruments.get() {
            let mut attributes = self.attributes();
            attributes.push(KeyValue::new(REBALANCE, kind));
            instruments.rebalances.add(1, &attributes);
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![KeyValue::new(MESSAGING_SYSTEM, SYSTEM)];
        let group = self.group();
        attributes.extend(group.map(|group| KeyValue::new(CONSUMER_GROUP_NAME, bounded(group).to_owned())));
        attributes
    }
}
