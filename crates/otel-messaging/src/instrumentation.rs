//! The instrumentation of one client, and the cache of its destinations.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). Attributes that all
//! operations of a client share are built once.

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use opentelemetry::{Context, InstrumentationScope};
use otel_operation::{BoundedCache, StartTime};
use otel_propagation::HeaderReader;

use crate::client::{ClientFacts, ClientState};
use crate::counter::ClientCounter;
use crate::description::DestinationDescription;
use crate::destination::Destination;
use crate::destination_key::with_key;
use crate::metrics::Series;
use crate::operation::MessagingOperation;
use crate::operation_builder::OperationBuilder;
use crate::options::Options;
use crate::policy::Acknowledgement;
use crate::prepared::PreparedDestination;

/// The least limit of separate metrics for destinations beyond the limit: one for each template, consumer group and
/// subscription.
const OVERFLOW: usize = 64;

/// The instrumentation of one client of a broker: a producer, a consumer or a connection. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct MessagingInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Arc<ClientState>,
    destinations: BoundedCache<PreparedDestination>,
    /// The metrics of destinations beyond the limit.
    overflow: BoundedCache<Series>,
    /// The metrics of operations without a destination.
    no_series: Arc<Series>,
    without_destination: Destination,
}

/// The builder of a [`MessagingInstrumentation`], with the facts of the client's configuration. They stand on all that
/// is recorded; the user's [`Options`] take precedence.
#[derive(Clone, Debug)]
pub struct InstrumentationBuilder {
    system: &'static str,
    scope: InstrumentationScope,
    facts: ClientFacts,
}

impl InstrumentationBuilder {
    /// Sets the client's id, `messaging.client.id`.
    #[must_use]
    pub fn with_client_id(mut self, id: Option<&str>) -> Self {
        self.facts.client_id = id.map(Into::into);
        self
    }

    /// Sets the broker's address, `server.address` and `server.port`.
    #[must_use]
    pub fn with_server(mut self, server: Option<(&str, u16)>) -> Self {
        self.facts.server = server.map(|(address, port)| (address.into(), port));
        self
    }

    /// Sets the consumer group, `messaging.consumer.group.name`.
    #[must_use]
    pub fn with_consumer_group(mut self, group: Option<&str>) -> Self {
        self.facts.consumer_group = group.map(Into::into);
        self
    }

    /// Sets the subscription, `messaging.destination.subscription.name`.
    #[must_use]
    pub fn with_subscription(mut self, subscription: Option<&str>) -> Self {
        self.facts.subscription = subscription.map(Into::into);
        self
    }

    /// Creates the instrumentation.
    #[must_use]
    pub fn build(self, options: Options) -> MessagingInstrumentation {
        let max_destinations = options.max_destinations;
        let client = Arc::new(ClientState::new(self.system, self.scope, self.facts, options));
        let mut attributes = client.metric_attributes.clone();
        attributes.extend(client.consumer_attributes(None, None));
        let no_series = Arc::new(Series::new(attributes));
        let without_destination = PreparedDestination::without_destination(&client, Arc::clone(&no_series));
        MessagingInstrumentation(Arc::new(Inner {
            destinations: BoundedCache::new(max_destinations),
            overflow: BoundedCache::new(max_destinations.max(OVERFLOW)),
            without_destination: Destination(Arc::new(without_destination)),
            no_series,
            client,
        }))
    }
}

impl MessagingInstrumentation {
    /// Builds the instrumentation of a client. `system` is the value of `messaging.system`. `scope` is the transport
    /// crate's own instrumentation scope, with its name, version and
    /// [`attributes::SCHEMA_URL`](crate::attributes::SCHEMA_URL).
    #[must_use]
    pub fn builder(system: &'static str, scope: InstrumentationScope) -> InstrumentationBuilder {
        InstrumentationBuilder { system, scope, facts: ClientFacts::default() }
    }

    /// Returns the destination for `key`, preparing it from its description at first use. The key must identify the
    /// complete description: destinations of one client that differ in any part need different keys. All keys of a
    /// client have the same number of parts, such as exchange, routing key and queue.
    ///
    /// A client caches [`Options::with_max_destinations`] destinations. One beyond that limit is prepared at each use.
    #[must_use]
    #[inline]
    pub fn destination<'a>(
        &self,
        key: &[&str],
        describe: impl Fn() -> DestinationDescription<'a>,
    ) -> Destination {
        let Inner { client, destinations, overflow, no_series, .. } = &*self.0;
        let describe = || describe().apply_template(&client.options);
        let prepare = || PreparedDestination::new(client, &describe());
        if let Some(prepared) = with_key(key, |key| destinations.get_or_insert(key, prepare)) {
            return Destination(Arc::clone(prepared));
        }
        let description = describe();
        let series = with_key(&description.overflow_key(), |key| {
            overflow
                .get_or_insert(key, || Series::new(description.overflow_metric_attributes(client)))
                .cloned()
        });
        Destination(Arc::new(PreparedDestination::overflow(client, &description, series, no_series)))
    }

    /// Returns the target for operations without a destination or with several, such as a commit of many partitions.
    /// Their spans are named after the broker's address, if it is known.
    #[must_use]
    pub fn no_destination(&self) -> &Destination {
        &self.0.without_destination
    }

    /// Builds an operation of a transaction. Its span has kind CLIENT and no `messaging.operation.type`.
    #[must_use]
    pub fn transaction(&self, operation: &'static str) -> OperationBuilder<'_> {
        self.no_destination().custom(operation)
    }

    /// Returns true while nothing of OpenTelemetry is installed, neither a provider nor a propagator. Operations then record
    /// nothing, and neither read nor write headers, so that a transport may leave them out. A tracer provider that is installed
    /// alone is noticed within 32 calls ([`Tracer::is_noop`](otel_operation::Tracer::is_noop)).
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.client.is_idle()
    }

    /// Returns an operation that does nothing while nothing of OpenTelemetry is installed ([`is_idle`](Self::is_idle)), for a
    /// transport that then leaves out the description of the destination.
    #[must_use]
    #[inline]
    pub fn idle_operation(&self) -> Option<MessagingOperation> {
        self.is_idle().then(MessagingOperation::idle)
    }

    /// Extracts the context that a message carries. Headers without a valid context yield an empty
    /// context, and so does a propagator that panics.
    #[must_use]
    pub fn extract<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        self.0.client.extract(headers)
    }

    /// The context that a message carries, without its baggage, which is then not parsed: for a link.
    #[must_use]
    pub fn extract_without_baggage<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        self.0.client.extract_without_baggage(headers)
    }

    /// Returns the time if receiving is recorded as spans ([`Options::with_receive_spans`]), for the start of a wait for
    /// messages.
    #[must_use]
    pub fn receive_start(&self) -> Option<StartTime> {
        self.0.client.options.receive_spans.then(StartTime::now)
    }

    /// Returns true if storing an offset is recorded ([`Options::with_stored_offset_spans`]).
    #[must_use]
    pub fn records_stored_offsets(&self) -> bool {
        self.0.client.options.stored_offset_spans
    }

    /// Returns true if the lag of consumers is recorded ([`Options::with_consumer_lag`]).
    #[must_use]
    pub fn records_consumer_lag(&self) -> bool {
        self.0.client.options.consumer_lag
    }

    /// Returns true if the queue time of producers is recorded ([`Options::with_queue_time`]).
    #[must_use]
    pub fn records_queue_time(&self) -> bool {
        self.0.client.options.queue_time
    }

    /// Returns the meter for instruments that the conventions do not define, or `None` as long as no meter provider is
    /// installed.
    #[must_use]
    pub fn meter(&self) -> Option<&Meter> {
        self.0.client.meter.get()
    }

    /// Returns the acknowledgement that the user has chosen for processing loops.
    #[must_use]
    pub fn acknowledgement(&self) -> Acknowledgement {
        self.0.client.options.acknowledgement
    }

    /// Creates a counter that the conventions do not define. Nothing is exported before its first use.
    #[must_use]
    pub fn counter(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> ClientCounter {
        ClientCounter::new(Arc::clone(&self.0.client), name, unit, description)
    }
}
