//! The client layer: injects context into requests and records each call once.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Client".

mod instrumentation;

use std::sync::Arc;

use http::Uri;
use otel_request::{RequestBody, RequestFuture};

pub use self::instrumentation::GrpcClient;

use crate::attributes;
use crate::layer::GrpcLayer;
use crate::service::GrpcService;
use crate::state::CallState;

/// A layer that records each call of a gRPC channel and injects its context into the request.
///
/// The parent is the `opentelemetry::Context` in the request's extensions, or the current context if the extensions
/// have none. The extension is for layers such as tower's `Buffer`, which make the call on another task.
///
/// ```
/// # async fn call() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_layer::Layer;
///
/// let endpoint = tonic::transport::Endpoint::from_static("http://orders.internal:50051");
/// let layer = otel_grpc::ClientLayer::new().with_target(endpoint.uri());
/// let channel = layer.layer(endpoint.connect_lazy());
/// let client = tonic_health::pb::health_client::HealthClient::new(channel);
/// # Ok(()) }
/// ```
pub type ClientLayer = GrpcLayer<GrpcClient>;

impl ClientLayer {
    /// Sets `server.address` and `server.port` from the URI of the channel's `Endpoint`. The channel adds this URI
    /// inside of the layer, where the layer cannot read it. Default: the origin of the request, which only clients
    /// created with an origin have. Channels without a URI need [`with_server`](Self::with_server).
    #[must_use]
    pub fn with_target(self, target: &Uri) -> Self {
        let target = attributes::target(target);
        self.edit(|_, client| client.target = target)
    }

    /// Sets `server.address` and `server.port` of a channel without a URI, in place of [`with_target`](Self::with_target).
    /// For a Unix socket, the address is its path and the port `None`: tonic's `Endpoint::uri` returns `http://tonic` there.
    /// For a balanced channel, the address is the name by which its endpoints are found.
    #[must_use]
    pub fn with_server(self, address: impl Into<Arc<str>>, port: Option<u16>) -> Self {
        let mut target = Vec::new();
        attributes::server(&address.into(), port, &mut target);
        self.edit(|_, client| client.target = target)
    }

    /// Attaches the call's context while the request's stream of messages is polled, for streams that start spans.
    /// The connection polls that stream on its own task. Default: `false`, because it costs an allocation per call.
    #[must_use]
    pub fn with_request_context(self, attach: bool) -> Self {
        self.edit(|_, client| client.request_context = attach)
    }
}

/// The future of a [`ClientService`].
pub type ClientFuture<F> = RequestFuture<F, CallState<GrpcClient>>;

/// The response body of a [`ClientService`]. The span ends with its trailers.
pub type ClientBody<B> = RequestBody<B, CallState<GrpcClient>>;

/// An instrumented gRPC channel.
pub type ClientService<S> = GrpcService<S, GrpcClient>;
