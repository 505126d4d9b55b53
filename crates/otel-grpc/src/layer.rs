//! The layer type of both sides, with the options of gRPC that they share.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/) for opt-in
//! attributes.

use std::sync::Arc;

use otel_request::{LayerOptions, Options};

use crate::attributes::{REQUEST_METADATA, RESPONSE_METADATA};
use crate::config::{GrpcHead, GrpcOptions, captured_metadata};
use crate::instrumentation::{GrpcInstrumentation, Side};
use crate::messages::MessageEvents;

/// A layer that records gRPC calls: [`ServerLayer`](crate::ServerLayer) and [`ClientLayer`](crate::ClientLayer). The
/// options that name no protocol are methods of [`LayerOptions`].
#[derive(Debug)]
pub struct GrpcLayer<S> {
    pub(crate) instrumentation: Arc<GrpcInstrumentation<S>>,
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

impl<S: Side> LayerOptions for GrpcLayer<S> {
    type Instrumentation = GrpcInstrumentation<S>;

    fn with_options(self, edit: impl FnOnce(&mut Options<GrpcHead>)) -> Self {
        self.edit(|grpc, _| edit(&mut grpc.common))
    }
}

impl<S: Side> GrpcLayer<S> {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        Self::build(GrpcOptions::new(), S::Options::default())
    }

    fn build(grpc: GrpcOptions, options: S::Options) -> Self {
        Self { instrumentation: Arc::new(GrpcInstrumentation::new(grpc, options)) }
    }

    pub(crate) fn edit(self, edit: impl FnOnce(&mut GrpcOptions, &mut S::Options)) -> Self {
        let mut grpc = self.instrumentation.grpc.clone();
        let mut options = self.instrumentation.side.options().clone();
        edit(&mut grpc, &mut options);
        Self::build(grpc, options)
    }

    /// Excludes the calls of these services, such as `grpc.health.v1.Health` and
    /// `grpc.reflection.v1.ServerReflection`, like calls that [`with_filter`](LayerOptions::with_filter) rejects.
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

    /// Limits the series that untrusted values make in each metric of this layer: methods that a server learns without a
    /// list, and hosts of the requests of a client without a target. Beyond it no method is learned, and new hosts are
    /// recorded without their name; those that have series never lose them. Default: 1,000, half of the SDK's limit per
    /// metric.
    #[must_use]
    pub fn with_max_untrusted_series(self, most: u32) -> Self {
        self.edit(|grpc, _| grpc.max_untrusted_series = most)
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

    /// Records the numbers of active calls, and of those whose response has begun (open streams), as metrics
    /// `rpc.{server,client}.active_calls` and `rpc.{server,client}.open_streams`. Default: `false`. A server's call of an
    /// unknown method is not counted, because its response can show that it is no call.
    #[must_use]
    pub fn with_active_calls(self, record: bool) -> Self {
        self.edit(|grpc, _| grpc.active_calls = record)
    }
}
