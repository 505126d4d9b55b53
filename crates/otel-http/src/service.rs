//! The service of both sides: it starts each request and runs the inner service inside of it.
//!
//! Follows [tower's contract](https://docs.rs/tower-service/latest/tower_service/trait.Service.html#backpressure): the
//! service that was polled ready is the one that is called.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use http_body::Body;
use otel_request::{RequestBody, RequestFuture};
use tower_layer::Layer;
use tower_service::Service;

use crate::instrumentation::{HttpInstrumentation, Side};
use crate::layer::HttpLayer;
use crate::sizes::observe_request;

/// An instrumented service: [`ServerService`](crate::ServerService) and [`ClientService`](crate::ClientService).
#[derive(Debug)]
pub struct HttpService<S, I> {
    inner: S,
    instrumentation: Arc<HttpInstrumentation<I>>,
}

impl<S, I> HttpService<S, I> {
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

impl<S: Clone, I> Clone for HttpService<S, I> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), instrumentation: Arc::clone(&self.instrumentation) }
    }
}

impl<S, I> Layer<S> for HttpLayer<I> {
    type Service = HttpService<S, I>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpService { inner, instrumentation: Arc::clone(&self.instrumentation) }
    }
}

impl<S, I, B, R> Service<Request<B>> for HttpService<S, I>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    I: Side,
    B: Body + 'static,
    R: Body,
    R::Error: 'static,
{
    type Response = Response<RequestBody<R, I::Observer>>;
    type Error = S::Error;
    type Future = RequestFuture<S::Future, I::Observer>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut scope = I::start(&self.instrumentation, &mut request);
        if self.instrumentation.shared.http.body_sizes
            && let Some(observer) = scope.observer_mut()
        {
            I::set_request_size(observer, observe_request(&mut request));
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
