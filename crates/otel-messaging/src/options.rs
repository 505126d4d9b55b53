//! The options that the instrumentations of all brokers share.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): an attribute that they make
//! opt-in, or a span relation that they leave open, is an option here.

use std::fmt;
use std::sync::Arc;

use opentelemetry::propagation::TextMapPropagator;
use otel_operation::{ParentMode, Providers, SamplerAttributes};
use otel_propagation::PropagatorHandle;

use crate::policy::{Acknowledgement, ExistingContext};

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;
type Template = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The default limit of destinations per client with their own span names and metrics.
const DESTINATIONS: usize = 512;

/// The options of a client's instrumentation, the same for all brokers. Default: the global providers and propagator,
/// which are looked up at first use and can therefore be set later.
#[derive(Clone)]
pub struct Options {
    pub(crate) propagation: PropagatorHandle,
    pub(crate) providers: Providers,
    pub(crate) sampler_attributes: SamplerAttributes,
    pub(crate) parent_mode: ParentMode,
    pub(crate) existing_context: ExistingContext,
    pub(crate) filter: Option<Filter>,
    pub(crate) destination_template: Option<Template>,
    pub(crate) max_destinations: usize,
    pub(crate) message_sizes: bool,
    pub(crate) message_age: bool,
    pub(crate) receive_spans: bool,
    pub(crate) stored_offset_spans: bool,
    pub(crate) consumer_lag: bool,
    pub(crate) queue_time: bool,
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) client_id: Option<Arc<str>>,
    pub(crate) server: Option<(Arc<str>, u16)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            propagation: PropagatorHandle::default(),
            providers: Providers::default(),
            sampler_attributes: SamplerAttributes::default(),
            parent_mode: ParentMode::default(),
            existing_context: ExistingContext::default(),
            filter: None,
            destination_template: None,
            max_destinations: DESTINATIONS,
            message_sizes: false,
            message_age: false,
            receive_spans: false,
            stored_offset_spans: false,
            consumer_lag: false,
            queue_time: false,
            acknowledgement: Acknowledgement::default(),
            client_id: None,
            server: None,
        }
    }
}

impl Options {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    otel_operation::with_providers!();

    /// Extracts and injects context with this propagator instead of the global one.
    #[must_use]
    pub fn with_propagator<P>(mut self, propagator: P) -> Self
    where
        P: TextMapPropagator + Send + Sync + 'static,
    {
        self.propagation = PropagatorHandle::new(propagator);
        self
    }

    /// Sets the parent of `process` spans. Default: [`ParentMode::ProducerIfNoAmbient`].
    #[must_use]
    pub fn with_parent_mode(mut self, mode: ParentMode) -> Self {
        self.parent_mode = mode;
        self
    }

    /// Sets how `send` treats a context that the message already carries. Default:
    /// [`ExistingContext::ReplaceAndLink`].
    #[must_use]
    pub fn with_existing_context(mut self, existing: ExistingContext) -> Self {
        self.existing_context = existing;
        self
    }

    /// Sets when samplers receive attributes. Default: [`SamplerAttributes::IfParentAllows`], which omits them under an unsampled
    /// parent.
    #[must_use]
    pub fn with_sampler_attributes(mut self, input: SamplerAttributes) -> Self {
        self.sampler_attributes = input;
        self
    }

    /// Records only destinations for whose name (or, without a name, template) `filter` returns true. Messages of
    /// other destinations carry the context on: a sent message gets the current one, a handler runs in its
    /// producer's. A destination with neither name nor template is always recorded. `filter` must be deterministic
    /// because its result is cached with the destination.
    #[must_use]
    pub fn with_filter<F>(mut self, filter: F) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Derives the template of a destination from its name: `orders.*.created` for `orders.4711.created`, or `None` to
    /// leave the destination as the transport describes it. Set it where names are unlimited in number: span names and
    /// metrics then have the template, the name is an attribute of spans. `template` must be deterministic because its
    /// result is cached with the destination.
    #[must_use]
    pub fn with_destination_template<F>(mut self, template: F) -> Self
    where
        F: Fn(&str) -> Option<String> + Send + Sync + 'static,
    {
        self.destination_template = Some(Arc::new(template));
        self
    }

    /// Sets the limit of destinations per client that have their own span names and metrics. Default: 512. A destination
    /// beyond it has its template in span names and on metrics if it has one; otherwise its name is only an attribute
    /// of its spans. It is prepared at each use, which costs some microseconds.
    #[must_use]
    pub fn with_max_destinations(mut self, limit: usize) -> Self {
        self.max_destinations = limit;
        self
    }

    /// Records a `receive` span for each received message and each receive error. Default: false, because such a span
    /// mostly measures the wait for the next message.
    #[must_use]
    pub fn with_receive_spans(mut self, record: bool) -> Self {
        self.receive_spans = record;
        self
    }

    /// Records the storing of an offset, which the client commits later, as a `settle` span like the commit. Default:
    /// false, because it only notes the offset in memory, once for each message.
    #[must_use]
    pub fn with_stored_offset_spans(mut self, record: bool) -> Self {
        self.stored_offset_spans = record;
        self
    }

    /// Records the messages of each partition that the consumer's group has not yet acknowledged, as a gauge, if the
    /// transport's client measures them. Default: false, because its series are as many as the partitions.
    #[must_use]
    pub fn with_consumer_lag(mut self, record: bool) -> Self {
        self.consumer_lag = record;
        self
    }

    /// Records the mean time that messages wait in the producer's queue before they are written to the broker, as a gauge,
    /// if the transport's client measures it. Default: false.
    #[must_use]
    pub fn with_queue_time(mut self, record: bool) -> Self {
        self.queue_time = record;
        self
    }

    /// Records the age of a message on its `process` span: the seconds between its timestamp and the start of
    /// processing, by the local clock (`messaging.message.age`, defined by this crate). It is absent if the message has
    /// no timestamp. Default: false.
    #[must_use]
    pub fn with_message_age(mut self, record: bool) -> Self {
        self.message_age = record;
        self
    }

    /// Sets how processing loops acknowledge messages. Default: [`Acknowledgement::Never`].
    #[must_use]
    pub fn with_acknowledgement(mut self, acknowledgement: Acknowledgement) -> Self {
        self.acknowledgement = acknowledgement;
        self
    }

    /// Records the sizes of messages on spans, `messaging.message.body.size` and `messaging.message.envelope.size` in
    /// bytes, if the transport provides them. Default: false.
    #[must_use]
    pub fn with_message_sizes(mut self, record: bool) -> Self {
        self.message_sizes = record;
        self
    }

    /// Sets the client's id, recorded on spans as `messaging.client.id`. Default: the id in the client's configuration.
    #[must_use]
    pub fn with_client_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Sets the broker's address, recorded on spans and metrics as `server.address` and `server.port`. Default: the
    /// address in the client's configuration, if it names a single broker.
    #[must_use]
    pub fn with_server(mut self, address: impl Into<Arc<str>>, port: u16) -> Self {
        self.server = Some((address.into(), port));
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("propagation", &self.propagation)
            .field("providers", &self.providers)
            .field("parent_mode", &self.parent_mode)
            .field("existing_context", &self.existing_context)
            .field("sampler_attributes", &self.sampler_attributes)
            .field("max_destinations", &self.max_destinations)
            .field("message_sizes", &self.message_sizes)
            .field("message_age", &self.message_age)
            .field("receive_spans", &self.receive_spans)
            .field("stored_offset_spans", &self.stored_offset_spans)
            .field("consumer_lag", &self.consumer_lag)
            .field("queue_time", &self.queue_time)
            .field("acknowledgement", &self.acknowledgement)
            .field("client_id", &self.client_id)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
