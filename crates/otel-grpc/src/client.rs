//! The client layer: injects context into requests and records each call once.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Client", and the
//! tower service contract.

mod instrumentation;

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use otel_request::{RequestBody, RequestFuture, start_client};
use tower_layer::Layer;
use tower_service::Service;

pub use self::instrumentation::GrpcClient;

use crate::attributes;
use crate::layer::GrpcLayer;
use crate::request_body::observe_request_body;
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
    /// created with an origin have.
    #[must_use]
    pub fn with_target(self, target: &Uri) -> Self {
        let target = attributes::target(target);
        self.edit(|_, client| client.target = target)
    }

    /// Attaches the call's context while the request's stream of messages is polled, for streams that start spans.
    /// The connection polls that stream on its own task. Default: `false`, because it costs an allocation per call.
    #[must_use]
    pub fn with_request_context(self, attach: bool) -> Self {
        self.edit(|_, client| client.request_context = attach)
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService { instrumentation: Arc::clone(&self.instrumentation), inner }
    }
}

/// The future of a [`ClientService`].
pub type ClientFuture<F> = RequestFuture<F, CallState<GrpcClient>>;

/// The response body of a [`ClientService`]. The span ends with its trailers.
pub type ClientBody<B> = RequestBody<B, CallState<GrpcClient>>;

/// An instrumented gRPC channel.
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    instrumentation: Arc<GrpcClient>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    B: 'static,
    R: Body<Data = Bytes>,
    R::Error: 'static,
{
    type Error = S::Error;
    type Future = ClientFuture<S::Future>;
    type Response = Response<ClientBody<R>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut scope = start_client(&self.instrumentation, &mut request);
        let messages = scope.observer_mut().and_then(|state| state.messages());
        if messages.is_some() || self.instrumentation.attaches_request_context() {
            observe_request_body(request.body_mut(), messages, scope.context());
        }
        let entered = scope.enter();
        let future = self.inner.call(request);
        entered.exit();
        RequestFuture::new(future, scope)
    }
}
