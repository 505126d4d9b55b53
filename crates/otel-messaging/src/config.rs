//! The options that the instrumentations of all brokers share.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): an attribute that they make
//! opt-in, or a span relation that they leave open, is an option here.

use std::fmt;
use std::sync::Arc;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer as ApiTracer, TracerProvider};
use otel_operation::{Providers, SamplerAttributes};
use otel_propagation::PropagatorHandle;

use crate::policy::{ExistingContext, ParentMode};

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The options that all brokers share. Default: the global providers and propagator, which are looked up at first use
/// and can therefore be set later.
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
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses this tracer provider instead of the global one.
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

    /// Uses this meter provider instead of the global one.
    #[must_use]
    pub fn with_meter_provider<P>(mut self, provider: &P) -> Self
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.providers.set_meter_provider(provider);
        self
    }

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

    /// Records the sizes of messages on spans, `messaging.message.body.size` and `messaging.message.envelope.size` in
    /// bytes, if the transport provides them. Default: false.
    #[must_use]
    pub fn with_message_sizes(mut self, record: bool) -> Self {
        self.message_sizes = record;
        self
    }

    /// Sets the client's id, recorded on spans as `messaging.client.id`.
    #[must_use]
    pub fn with_client_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Sets the broker's address, recorded on spans and metrics as `server.address` and `server.port`.
    #[must_use]
    pub fn with_server(mut self, address: impl Into<Arc<str>>, port: u16) -> Self {
        self.server = Some((address.into(), port));
        self
    }
}

/// For transport crates: values from the client's own configuration, which apply only if the user has not set the
/// option.
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

/// Defines the options that all brokers share on a transport's options type, which must have a method
/// `fn edit(self, …)` that changes an [`Options`]. For transport crates.
#[doc(hidden)]
#[macro_export]
macro_rules! messaging_options {
    () => {
        /// Uses this tracer provider instead of the global one.
        #[must_use]
        pub fn with_tracer_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::trace::TracerProvider + Clone + Send + Sync + 'static,
            P::Tracer: Send + Sync + 'static,
            <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
        {
            self.edit(|options| options.with_tracer_provider(provider))
        }

        /// Uses this meter provider instead of the global one.
        #[must_use]
        pub fn with_meter_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::metrics::MeterProvider + Clone + Send + Sync + 'static,
        {
            self.edit(|options| options.with_meter_provider(provider))
        }

        /// Extracts and injects context with this propagator instead of the global one.
        #[must_use]
        pub fn with_propagator<P>(self, propagator: P) -> Self
        where
            P: opentelemetry::propagation::TextMapPropagator + Send + Sync + 'static,
        {
            self.edit(|options| options.with_propagator(propagator))
        }

        /// Sets the parent of `process` spans. Default: `ParentMode::ProducerIfNoAmbient`.
        #[must_use]
        pub fn with_parent_mode(self, mode: $crate::ParentMode) -> Self {
            self.edit(|options| options.with_parent_mode(mode))
        }

        /// Sets how `send` treats a context that the message already carries. Default:
        /// `ExistingContext::ReplaceAndLink`.
        #[must_use]
        pub fn with_existing_context(self, existing: $crate::ExistingContext) -> Self {
            self.edit(|options| options.with_existing_context(existing))
        }

        /// Sets when samplers receive attributes. Default: `SamplerAttributes::IfParentAllows`, which omits them under an unsampled
        /// parent.
        #[must_use]
        pub fn with_sampler_attributes(self, input: $crate::SamplerAttributes) -> Self {
            self.edit(|options| options.with_sampler_attributes(input))
        }

        /// Records only destinations for whose name `filter` returns true. Messages of other destinations carry the
        /// context on: a sent message gets the current one, a handler runs in its producer's. `filter` must be
        /// deterministic because its result is cached for most destinations.
        #[must_use]
        pub fn with_filter<F>(self, filter: F) -> Self
        where
            F: Fn(&str) -> bool + Send + Sync + 'static,
        {
            self.edit(|options| options.with_filter(filter))
        }

        /// Records the sizes of messages in bytes on spans, if they are known. Default: false.
        #[must_use]
        pub fn with_message_sizes(self, record: bool) -> Self {
            self.edit(|options| options.with_message_sizes(record))
        }

        /// Sets `messaging.client.id`. Default: the client id in the client's configuration.
        #[must_use]
        pub fn with_client_id(self, id: impl Into<std::sync::Arc<str>>) -> Self {
            self.edit(|options| options.with_client_id(id))
        }

        /// Sets `server.address` and `server.port`. Default: the address in the client's configuration, if it names a
        /// single broker.
        #[must_use]
        pub fn with_server(self, address: impl Into<std::sync::Arc<str>>, port: u16) -> Self {
            self.edit(|options| options.with_server(address, port))
        }
    };
}
