//! The service of both sides: it starts each call, observes its request body and runs the inner service inside of it.
//!
//! Follows [tower's contract](https://docs.rs/tower-service/latest/tower_service/trait.Service.html#backpressure): the
//! service that was polled ready is the one that is called.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use otel_request::{RequestBody, RequestFuture};
use tower_layer::Layer;
use tower_service::Service;

use crate::instrumentation::{GrpcInstrumentation, Side};
use crate::layer::GrpcLayer;
use crate::request_body::observe_request_body;
use crate::server::GrpcServer;
use crate::state::CallState;

/// An instrumented service: [`ServerService`](crate::ServerService) and [`ClientService`](crate::ClientService).
#[derive(Debug)]
pub struct GrpcService<S, I> {
    instrumentation: Arc<GrpcInstrumentation<I>>,
    inner: S,
}

impl<S, I> GrpcService<S, I> {
    /// Returns the wrapped service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the wrapped service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Unwraps the service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, I> Clone for GrpcService<S, I> {
    fn clone(&self) -> Self {
        Self { instrumentation: Arc::clone(&self.instrumentation), inner: self.inner.clone() }
    }
}

impl<S, I> Layer<S> for GrpcLayer<I> {
    type Service = GrpcService<S, I>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcService { instrumentation: Arc::clone(&self.instrumentation), inner }
    }
}

impl<S: tonic::server::NamedService> tonic::server::NamedService for GrpcService<S, GrpcServer> {
    const NAME: &'static str = S::NAME;
}

impl<S, I, B, R> Service<Request<B>> for GrpcService<S, I>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    I: Side,
    B: 'static,
    R: Body<Data = Bytes>,
    R::Error: 'static,
{
    type Error = S::Error;
    type Future = RequestFuture<S::Future, CallState<I>>;
    type Response = Response<RequestBody<R, CallState<I>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut scope = I::start(&self.instrumentation, &mut request);
        let messages = scope.observer_mut().and_then(|state| state.messages());
        if messages.is_some() || self.instrumentation.side.attaches_request_context() {
            observe_request_body(request.body_mut(), messages, scope.context());
        }
        let entered = scope.enter();
        let future = self.inner.call(request);
        entered.exit();
        RequestFuture::new(future, scope)
    }
}

#[cfg(test)]
mod tests {
    use tower_layer::Layer;

    #[test]
    fn the_wrapped_service_can_be_reached_and_taken_out() {
        let mut service = crate::ServerLayer::new().layer(1);
        *service.get_mut() += 1;
        assert_eq!(*service.get_ref(), 2);
        assert_eq!(service.into_inner(), 2);
    }
}
