//! The server layer: extracts the caller's context and records each call once.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Server", and the
//! tower service contract: the service that was polled ready is the one that is called.

mod instrumentation;

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use otel_request::{RequestBody, RequestFuture, start_server};
use tower_layer::Layer;
use tower_service::Service;

pub use self::instrumentation::GrpcServer;

use crate::config::CallHead;
use crate::layer::GrpcLayer;
use crate::request_body::observe_request_body;
use crate::state::CallState;

/// A layer that records each call of a gRPC server.
///
/// A request is a call if the server has its method, or if its response is gRPC's. Others have no metrics of calls, so that
/// a router of REST and gRPC has this layer and otel-http's, in either order.
///
/// ```
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_, health) = tonic_health::server::health_reporter();
/// tonic::transport::Server::builder()
///     .layer(otel_grpc::ServerLayer::new())
///     .add_service(health)
///     .serve("127.0.0.1:50051".parse()?)
///     .await?;
/// # Ok(()) }
/// ```
pub type ServerLayer = GrpcLayer<GrpcServer>;

impl ServerLayer {
    /// Treats callers as untrusted: their span context becomes a link instead of the parent, and their baggage is
    /// dropped. Default: `false`.
    #[must_use]
    pub fn with_public_endpoint(self, public: bool) -> Self {
        self.edit(|grpc, ()| grpc.common.set_public_endpoint(public))
    }

    /// Treats the callers of those calls as untrusted for which `is_public` returns `true`. See
    /// [`with_public_endpoint`](Self::with_public_endpoint).
    #[must_use]
    pub fn with_public_endpoint_if<F>(self, is_public: F) -> Self
    where
        F: Fn(&CallHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.edit(|grpc, ()| grpc.common.set_public_endpoint_if(is_public))
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { instrumentation: Arc::clone(&self.instrumentation), inner }
    }
}

/// The future of a [`ServerService`].
pub type ServerFuture<F> = RequestFuture<F, CallState<GrpcServer>>;

/// The response body of a [`ServerService`]. The span ends with its trailers.
pub type ServerBody<B> = RequestBody<B, CallState<GrpcServer>>;

/// An instrumented gRPC server.
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    instrumentation: Arc<GrpcServer>,
    inner: S,
}

impl<S: tonic::server::NamedService> tonic::server::NamedService for ServerService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    B: 'static,
    R: Body<Data = Bytes>,
    R::Error: 'static,
{
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;
    type Response = Response<ServerBody<R>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut scope = start_server(&self.instrumentation, &mut request);
        if let Some(messages) = scope.observer_mut().and_then(|state| state.messages()) {
            observe_request_body(request.body_mut(), Some(messages), scope.context());
        }
        let entered = scope.enter();
        let future = self.inner.call(request);
        entered.exit();
        RequestFuture::new(future, scope)
    }
}
