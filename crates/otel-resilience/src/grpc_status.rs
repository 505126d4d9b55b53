//! Responses in place of errors, so that a gRPC client sees the status of a call that was refused or ended.
//!
//! Follows [gRPC's status codes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md) and [gRPC over
//! HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses", for a response without messages.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use http::Response;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::{BoxError, ResilienceError};
use crate::grpc;

/// A layer that turns a [`ResilienceError`] into a response with a gRPC status, for tonic, which sees other errors as UNKNOWN. Put
/// it outside of all layers of this crate.
///
/// | error | status |
/// |---|---|
/// | [`TimedOut`](ResilienceError::TimedOut), [`DeadlineRefused`](ResilienceError::DeadlineRefused) | `DEADLINE_EXCEEDED` |
/// | [`CircuitOpen`](ResilienceError::CircuitOpen) | UNAVAILABLE |
/// | [`BulkheadFull`](ResilienceError::BulkheadFull), [`RateLimited`](ResilienceError::RateLimited) | `RESOURCE_EXHAUSTED` |
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GrpcStatusLayer;

impl<S> Layer<S> for GrpcStatusLayer {
    type Service = GrpcStatusService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcStatusService { inner }
    }
}

/// A service whose refused calls have a gRPC status.
#[derive(Clone, Debug)]
pub struct GrpcStatusService<S> {
    inner: S,
}

impl<S, Q, B> Service<Q> for GrpcStatusService<S>
where
    S: Service<Q, Response = Response<B>, Error = BoxError>,
    B: Default,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = GrpcStatusFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        GrpcStatusFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of a [`GrpcStatusService`].
    #[derive(Debug)]
    pub struct GrpcStatusFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B> Future for GrpcStatusFuture<F>
where
    F: Future<Output = Result<Response<B>, BoxError>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map(|result| match result {
            Err(error) => match ResilienceError::find(&*error) {
                Some(found) => Ok(grpc::response(code(found), found.message())),
                None => Err(error),
            },
            ok => ok,
        })
    }
}

fn code(error: &ResilienceError) -> usize {
    match error {
        ResilienceError::TimedOut | ResilienceError::DeadlineRefused => grpc::DEADLINE_EXCEEDED,
        ResilienceError::CircuitOpen { .. } => grpc::UNAVAILABLE,
        ResilienceError::BulkheadFull { .. } | ResilienceError::RateLimited { .. } => {
            grpc::RESOURCE_EXHAUSTED
        }
    }
}
