//! What can be chosen for a producer or a consumer.
//!
//! Follows the messaging semantic conventions wherever an attribute is opt-in or a relation may be chosen.

use std::sync::Arc;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer, TracerProvider};
use otel_messaging::{ExistingContext, ParentMode, SamplerInput};
use otel_operation::Providers;

/// The options of a producer or a consumer. Without any, the global providers and propagator are used, which may be
/// set later.
///
/// ```
/// use otel_kafka::{FutureProducer, Options};
/// use rdkafka::ClientConfig;
///
/// # fn main() -> Result<(), rdkafka::error::KafkaError> {
/// let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", "localhost:9092").create()?;
/// let producer = producer.with_options(Options::new().with_message_sizes(true));
/// # drop(producer); Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) messaging: otel_messaging::Options,
    pub(crate) has_client_id: bool,
    pub(crate) has_server: bool,
    pub(crate) providers: Providers,
    pub(crate) poll_spans: bool,
    pub(crate) lag: bool,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn edit(mut self, edit: impl FnOnce(otel_messaging::Options) -> otel_messaging::Options) -> Self {
        self.messaging = edit(self.messaging);
        self
    }

    /// Takes spans from this provider in place of the global one.
    #[must_use]
    pub fn with_tracer_provider<P>(self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.edit(|options| options.with_tracer_provider(provider))
    }

    /// Takes instruments from this provider in place of the global one.
    #[must_use]
    pub fn with_meter_provider<P>(mut self, provider: &P) -> Self
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.providers.set_meter_provider(provider);
        self.edit(|options| options.with_meter_provider(provider))
    }

    /// Reads and writes context with this propagator in place of the global one.
    #[must_use]
    pub fn with_propagator<P>(self, propagator: P) -> Self
    where
        P: TextMapPropagator + Send + Sync + 'static,
    {
        self.edit(|options| options.with_propagator(propagator))
    }

    /// Chooses which span is the parent of a `process` span.
    #[must_use]
    pub fn with_parent_mode(self, mode: ParentMode) -> Self {
        self.edit(|options| options.with_parent_mode(mode))
    }

    /// Chooses what becomes of a context that a record carries already when it is sent.
    #[must_use]
    pub fn with_existing_context(self, existing: ExistingContext) -> Self {
        self.edit(|options| options.with_existing_context(existing))
    }

    /// Chooses whether samplers are given attributes also under a parent that is not sampled.
    #[must_use]
    pub fn with_sampler_input(self, input: SamplerInput) -> Self {
        self.edit(|options| options.with_sampler_input(input))
    }

    /// Records only topics for whose name `filter` answers true; messages of all others pass untouched. It is asked
    /// once for most topics, and must always answer the same.
    #[must_use]
    pub fn with_filter<F>(self, filter: F) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.edit(|options| options.with_filter(filter))
    }

    /// Records the sizes of payloads in bytes on spans (`messaging.message.body.size`).
    #[must_use]
    pub fn with_message_sizes(self, record: bool) -> Self {
        self.edit(|options| options.with_message_sizes(record))
    }

    /// What is recorded as `messaging.client.id`, in place of `client.id` in the client's configuration.
    #[must_use]
    pub fn with_client_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.has_client_id = true;
        self.edit(|options| options.with_client_id(id))
    }

    /// What is recorded as `server.address` and `server.port`. Without it these are taken from `bootstrap.servers` in
    /// the client's configuration where that is a single broker.
    #[must_use]
    pub fn with_server(mut self, address: impl Into<Arc<str>>, port: u16) -> Self {
        self.has_server = true;
        self.edit(|options| options.with_server(address, port))
    }

    /// Records a `poll` span for each message, and for each error, that is received. Most of its length is waiting for
    /// something to come, so that it is not recorded unless it is asked for.
    #[must_use]
    pub fn with_poll_spans(mut self, record: bool) -> Self {
        self.poll_spans = record;
        self
    }

    /// Records on a `process` span how old its message was when processing began, in seconds by this machine's clock
    /// (`messaging.kafka.message.lag`, an attribute of ours).
    #[must_use]
    pub fn with_lag(mut self, record: bool) -> Self {
        self.lag = record;
        self
    }
}
