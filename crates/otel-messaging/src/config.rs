//! What can be chosen for the instrumentation of any broker's client.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) wherever an attribute is
//! opt-in or a relation may be chosen.

use std::fmt;
use std::sync::Arc;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer as ApiTracer, TracerProvider};
use otel_operation::{Providers, SamplerAttributes};
use otel_propagation::PropagatorHandle;

use crate::policy::{ExistingContext, ParentMode};

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The options that all brokers share. Without any, the global providers and propagator are used, which may be set
/// later.
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) propagation: PropagatorHandle,
    pub(crate) providers: Providers,
    pub(crate) sampler_attributes: SamplerAttributes,
    pub(crate) parent_mode: ParentMode,
    pub(crate) existing_context: ExistingContext,
    pub(crate) filter: Option<Filter>,
    pub(crate) message_sizes: bool,
    pub(crate) client_id: Option<Arc<str>>,
    pub(crate) server: Option<(Arc<str>, u16)>,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes spans from this provider in place of the global one.
    #[must_use]
    pub fn with_tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as ApiTracer>::Span: Send + Sync + 'static,
    {
        self.providers.set_tracer_provider(provider);
        self
    }

    /// Takes instruments from this provider in place of the global one.
    #[must_use]
    pub fn with_meter_provider<P>(mut self, provider: &P) -> Self
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.providers.set_meter_provider(provider);
        self
    }

    /// Reads and writes context with this propagator in place of the global one.
    #[must_use]
    pub fn with_propagator<P>(mut self, propagator: P) -> Self
    where
        P: TextMapPropagator + Send + Sync + 'static,
    {
        self.propagation = PropagatorHandle::new(propagator);
        self
    }

    /// Chooses which span is the parent of a `process` span.
    #[must_use]
    pub fn with_parent_mode(mut self, mode: ParentMode) -> Self {
        self.parent_mode = mode;
        self
    }

    /// Chooses what becomes of a context that a message carries already when it is sent.
    #[must_use]
    pub fn with_existing_context(mut self, existing: ExistingContext) -> Self {
        self.existing_context = existing;
        self
    }

    /// Chooses whether samplers are given attributes also under a parent that is not sampled.
    #[must_use]
    pub fn with_sampler_attributes(mut self, input: SamplerAttributes) -> Self {
        self.sampler_attributes = input;
        self
    }

    /// Records only destinations for whose name (else template) `filter` answers true; messages of all others pass
    /// untouched. It is asked when a destination is prepared, once for most, and must always answer the same.
    #[must_use]
    pub fn with_filter<F>(mut self, filter: F) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Records the sizes of messages in bytes on spans: `messaging.message.body.size` and
    /// `messaging.message.envelope.size`, as far as the transport knows them.
    #[must_use]
    pub fn with_message_sizes(mut self, record: bool) -> Self {
        self.message_sizes = record;
        self
    }

    /// Records what the client calls itself on spans, as `messaging.client.id`.
    #[must_use]
    pub fn with_client_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Records the broker's address on spans and metrics, as `server.address` and `server.port`.
    #[must_use]
    pub fn with_server(mut self, address: impl Into<Arc<str>>, port: u16) -> Self {
        self.server = Some((address.into(), port));
        self
    }
}

/// What the client's own configuration says, for the transports of this family: it counts where the user has not chosen.
#[doc(hidden)]
impl Options {
    #[must_use]
    pub fn or_client_id(mut self, id: Option<impl Into<Arc<str>>>) -> Self {
        self.client_id = self.client_id.or_else(|| id.map(Into::into));
        self
    }

    #[must_use]
    pub fn or_server(mut self, server: Option<(impl Into<Arc<str>>, u16)>) -> Self {
        self.server = self.server.or_else(|| server.map(|(address, port)| (address.into(), port)));
        self
    }

    #[must_use]
    pub fn providers(&self) -> &Providers {
        &self.providers
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
            .field("message_sizes", &self.message_sizes)
            .field("client_id", &self.client_id)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// The options that all brokers share, for a type with `fn edit(self, …)` that changes an [`Options`]. For the
/// transports of this family.
#[doc(hidden)]
#[macro_export]
macro_rules! messaging_options {
    () => {
        /// Takes spans from this provider in place of the global one.
        #[must_use]
        pub fn with_tracer_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::trace::TracerProvider + Clone + Send + Sync + 'static,
            P::Tracer: Send + Sync + 'static,
            <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
        {
            self.edit(|options| options.with_tracer_provider(provider))
        }

        /// Takes instruments from this provider in place of the global one.
        #[must_use]
        pub fn with_meter_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::metrics::MeterProvider + Clone + Send + Sync + 'static,
        {
            self.edit(|options| options.with_meter_provider(provider))
        }

        /// Reads and writes context with this propagator in place of the global one.
        #[must_use]
        pub fn with_propagator<P>(self, propagator: P) -> Self
        where
            P: opentelemetry::propagation::TextMapPropagator + Send + Sync + 'static,
        {
            self.edit(|options| options.with_propagator(propagator))
        }

        /// Chooses which span is the parent of a `process` span.
        #[must_use]
        pub fn with_parent_mode(self, mode: $crate::ParentMode) -> Self {
            self.edit(|options| options.with_parent_mode(mode))
        }

        /// Chooses what becomes of a context that a message carries already when it is sent.
        #[must_use]
        pub fn with_existing_context(self, existing: $crate::ExistingContext) -> Self {
            self.edit(|options| options.with_existing_context(existing))
        }

        /// Chooses whether samplers are given attributes also under a parent that is not sampled.
        #[must_use]
        pub fn with_sampler_attributes(self, input: $crate::SamplerAttributes) -> Self {
            self.edit(|options| options.with_sampler_attributes(input))
        }

        /// Records only destinations for whose name `filter` answers true; messages of all others pass untouched. It
        /// is asked once for most destinations, and must always answer the same.
        #[must_use]
        pub fn with_filter<F>(self, filter: F) -> Self
        where
            F: Fn(&str) -> bool + Send + Sync + 'static,
        {
            self.edit(|options| options.with_filter(filter))
        }

        /// Records the sizes of messages in bytes on spans, as far as they are known.
        #[must_use]
        pub fn with_message_sizes(self, record: bool) -> Self {
            self.edit(|options| options.with_message_sizes(record))
        }

        /// What is recorded as `messaging.client.id`, in place of what the client's configuration says.
        #[must_use]
        pub fn with_client_id(self, id: impl Into<std::sync::Arc<str>>) -> Self {
            self.edit(|options| options.with_client_id(id))
        }

        /// What is recorded as `server.address` and `server.port`, in place of what the client's configuration says,
        /// as far as that names a single broker.
        #[must_use]
        pub fn with_server(self, address: impl Into<std::sync::Arc<str>>, port: u16) -> Self {
            self.edit(|options| options.with_server(address, port))
        }
    };
}
