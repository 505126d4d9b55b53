//! The layer type of both sides, with the `with_*` methods that they share.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/) for opt-in
//! attributes.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer, TracerProvider};
use otel_operation::{LazyInstruments, Outcome, SamplerAttributes};
use otel_propagation::PropagatorHandle;
use tonic::Code;

use crate::attributes::{REQUEST_METADATA, RESPONSE_METADATA};
use crate::config::{CallHead, GrpcOptions, captured_metadata};
use crate::messages::MessageEvents;
use crate::method::Methods;
use crate::metrics::GrpcInstruments;

/// The side of a layer, as the instrumentation that its services share.
pub trait Side: Send + Sync + Sized + 'static {
    /// The options that only this side has.
    type Options: Clone + Default;

    /// True for clients: each of their requests is a call, and they send the request messages.
    const IS_CLIENT: bool;

    /// Creates the instrumentation.
    fn build(grpc: GrpcOptions, options: Self::Options) -> Self;

    /// Returns the options that it was built with.
    fn options(&self) -> (&GrpcOptions, &Self::Options);

    /// Returns the instruments.
    fn instruments(&self) -> &LazyInstruments<GrpcInstruments>;

    /// Returns the methods that the layer caches.
    fn methods(&self) -> &Methods;

    /// Returns the outcome of a call that ended with this status.
    fn outcome(code: Code) -> Outcome;
}

/// A layer that records gRPC calls: [`ServerLayer`](crate::ServerLayer) and [`ClientLayer`](crate::ClientLayer).
#[derive(Debug)]
pub struct GrpcLayer<S> {
    pub(crate) instrumentation: Arc<S>,
}

impl<S> Clone for GrpcLayer<S> {
    fn clone(&self) -> Self {
        Self { instrumentation: Arc::clone(&self.instrumentation) }
    }
}

impl<S: Side> Default for GrpcLayer<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Side> GrpcLayer<S> {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        Self::build(GrpcOptions::new(), S::Options::default())
    }

    fn build(grpc: GrpcOptions, options: S::Options) -> Self {
        Self { instrumentation: Arc::new(S::build(grpc, options)) }
    }

    pub(crate) fn edit(self, edit: impl FnOnce(&mut GrpcOptions, &mut S::Options)) -> Self {
        let (grpc, options) = self.instrumentation.options();
        let (mut grpc, mut options) = (grpc.clone(), options.clone());
        edit(&mut grpc, &mut options);
        Self::build(grpc, options)
    }

    /// Records the spans of calls into this provider instead of the global one.
    #[must_use]
    pub fn with_tracer_provider<P>(self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.edit(|grpc, _| grpc.common.providers.set_tracer_provider(provider))
    }

    /// Records metrics into this provider instead of the global one.
    #[must_use]
    pub fn with_meter_provider<P>(self, provider: &P) -> Self
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.edit(|grpc, _| grpc.common.providers.set_meter_provider(provider))
    }

    /// Reads and writes context with this propagator instead of the global one.
    #[must_use]
    pub fn with_propagator<P>(self, propagator: P) -> Self
    where
        P: TextMapPropagator + Send + Sync + 'static,
    {
        self.edit(|grpc, _| grpc.common.propagator = PropagatorHandle::new(propagator))
    }

    /// Records only calls for which `filter` returns `true`. Others have no span and no metrics; their trace continues:
    /// a server's call runs in its caller's context, a client's call carries the current one.
    #[must_use]
    pub fn with_filter<F>(self, filter: F) -> Self
    where
        F: Fn(&CallHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.edit(|grpc, _| grpc.common.set_filter(filter))
    }

    /// Excludes the calls of these services, such as `grpc.health.v1.Health` and
    /// `grpc.reflection.v1.ServerReflection`, like calls that [`with_filter`](Self::with_filter) rejects.
    #[must_use]
    pub fn with_excluded_services<'a>(self, services: impl IntoIterator<Item = &'a str>) -> Self {
        let services = services.into_iter().map(Box::from).collect();
        self.edit(|grpc, _| grpc.excluded_services = services)
    }

    /// Adds to the list of known methods, as `package.Service/Method`. Methods outside of the list are recorded as
    /// `_OTHER`.
    #[must_use]
    pub fn with_known_methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
        self.edit(|grpc, _| grpc.add_known_methods(methods))
    }

    /// Adds the methods of an encoded file descriptor set, which tonic-build writes and tonic-reflection serves, to
    /// the [known methods](Self::with_known_methods).
    ///
    /// # Errors
    /// Returns an error if `encoded` is not a valid file descriptor set.
    #[cfg(feature = "prost-types")]
    pub fn with_file_descriptor_set(self, encoded: &[u8]) -> Result<Self, prost::DecodeError> {
        let methods = crate::descriptors::method_names(encoded)?;
        Ok(self.edit(|grpc, _| grpc.add_known_methods(methods)))
    }

    /// Adds span attributes from the head of the call. `attributes` runs at most once per call, only if the sampler
    /// receives attributes or the span records.
    #[must_use]
    pub fn with_call_attributes<F>(self, attributes: F) -> Self
    where
        F: Fn(&CallHead<'_>, &mut Vec<KeyValue>) + Send + Sync + 'static,
    {
        self.edit(|grpc, _| grpc.common.set_request_attributes(attributes))
    }

    /// Records this request metadata as `rpc.request.metadata.NAME`. Default: none. At most 16 values per key are
    /// recorded, each truncated to 1,024 bytes, and no binary metadata (`-bin`). Do not list keys that carry secrets.
    #[must_use]
    pub fn with_request_metadata<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let captured = captured_metadata(REQUEST_METADATA, names);
        self.edit(|grpc, _| grpc.request_metadata = captured)
    }

    /// Records this response metadata as `rpc.response.metadata.NAME`, from the headers and not from the trailers.
    /// Default: none. The limits are those of [`with_request_metadata`](Self::with_request_metadata).
    #[must_use]
    pub fn with_response_metadata<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let captured = captured_metadata(RESPONSE_METADATA, names);
        self.edit(|grpc, _| grpc.common.response_headers = captured)
    }

    /// Sets the recording of messages on spans. Default: [`MessageEvents::Off`].
    #[must_use]
    pub fn with_message_events(self, events: MessageEvents) -> Self {
        self.edit(|grpc, _| grpc.message_events = events)
    }

    /// Limits the events of [`MessageEvents::Each`] per span. Default: 128.
    #[must_use]
    pub fn with_max_message_events(self, most: u32) -> Self {
        self.edit(|grpc, _| grpc.max_message_events = most)
    }

    /// Records the sizes (bytes on the wire, without prefixes) and numbers of a call's messages as metrics. Default:
    /// `false`.
    #[must_use]
    pub fn with_message_metrics(self, record: bool) -> Self {
        self.edit(|grpc, _| grpc.message_metrics = record)
    }

    /// Sets the rule by which samplers receive attributes under an unsampled parent. Default:
    /// [`SamplerAttributes::IfParentAllows`].
    #[must_use]
    pub fn with_sampler_attributes(self, attributes: SamplerAttributes) -> Self {
        self.edit(|grpc, _| grpc.common.sampler_attributes = attributes)
    }

    /// Writes the owner of a call's span into the request's extensions. Default: `false`. Set it on the outer of two layers
    /// if a `tower::buffer` or a spawned task is directly around the inner one, which is then called on another task and
    /// would start a second span.
    #[must_use]
    pub fn with_request_extension(self, extension: bool) -> Self {
        self.edit(|grpc, _| grpc.common.request_extension = extension)
    }
}
