//! The inner of the two services that measure the wait for a place or a permit: the outer one stamps the request.
//!
//! Follows [tower's contract](https://docs.rs/tower-service/latest/tower_service/trait.Service.html#backpressure).

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::error::BoxError;
use crate::policy::Policy;

/// A request that waits since its stamp.
#[derive(Debug)]
pub(crate) struct Waiting<Q> {
    pub(crate) request: Q,
    pub(crate) since: Instant,
}

impl<Q> Waiting<Q> {
    pub(crate) fn new(request: Q) -> Self {
        Self { request, since: Instant::now() }
    }
}

/// The service that is called once the wait is over.
#[derive(Clone, Debug)]
pub(crate) struct Admitted<S> {
    pub(crate) inner: S,
    pub(crate) policy: Policy,
}

impl<S, Q> Service<Waiting<Q>> for Admitted<S>
where
    S: Service<Q>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = IntoBoxError<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, waiting: Waiting<Q>) -> Self::Future {
        self.policy.record_wait(waiting.since.elapsed());
        IntoBoxError { inner: self.inner.call(waiting.request) }
    }
}

pin_project! {
    /// A future whose error is boxed.
    #[derive(Debug)]
    pub(crate) struct IntoBoxError<F> {
        #[pin]
        inner: F,
    }
}

impl<F, T, E> Future for IntoBoxError<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_err(Into::into)
    }
}
