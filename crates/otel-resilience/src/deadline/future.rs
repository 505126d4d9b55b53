//! The futures of both sides: the inner one, its deadline, and the end at which the inner one is dropped.
//!
//! Follows [tower's timeout](https://docs.rs/tower/latest/tower/timeout/struct.Timeout.html): the inner future is polled first.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use http::{Response, StatusCode};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use otel_request::{Deadline, DropReason, ErrorClass, ErrorView};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::attributes::DEADLINE_EXPIRED;
use crate::error::{BoxError, ResilienceError};
use crate::grpc;

/// The precision of two clocks that end at the same time: that of tokio's timer, and of the header.
const TICK: Duration = Duration::from_millis(2);

pin_project! {
    /// The future of a [`DeadlineService`](crate::DeadlineService).
    #[derive(Debug)]
    pub struct DeadlineFuture<F> {
        #[pin]
        limited: Limited<F>,
        // The error after which there is no inner future.
        error: ResilienceError,
    }
}

pin_project! {
    /// The future of a [`DeadlineServerService`](crate::DeadlineServerService).
    #[derive(Debug)]
    pub struct DeadlineServerFuture<F> {
        #[pin]
        limited: Limited<F>,
        is_grpc: bool,
    }
}

pin_project! {
    /// A future up to a deadline, in a context.
    #[derive(Debug)]
    struct Limited<F> {
        // `None` if it is refused, or after its end.
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Option<Sleep>,
        context: Option<Context>,
    }
}

impl<F> DeadlineFuture<F> {
    pub(super) fn unlimited(inner: F) -> Self {
        let limited = Limited { inner: Some(inner), sleep: None, context: None };
        Self { limited, error: ResilienceError::TimedOut }
    }

    pub(super) fn limited(inner: F, deadline: Deadline, context: Option<Context>) -> Self {
        Self { limited: Limited::new(inner, deadline, context), error: ResilienceError::TimedOut }
    }

    pub(super) fn refused(error: ResilienceError) -> Self {
        Self { limited: Limited { inner: None, sleep: None, context: None }, error }
    }
}

impl<F> DeadlineServerFuture<F> {
    pub(super) fn unlimited(inner: F) -> Self {
        Self { limited: Limited { inner: Some(inner), sleep: None, context: None }, is_grpc: false }
    }

    pub(super) fn limited(inner: F, deadline: Deadline, context: Context, is_grpc: bool) -> Self {
        Self { limited: Limited::new(inner, deadline, Some(context)), is_grpc }
    }

    /// The future of a request whose deadline had passed when it arrived.
    pub(super) fn expired(is_grpc: bool) -> Self {
        Self { limited: Limited { inner: None, sleep: None, context: None }, is_grpc }
    }
}

impl<F> Limited<F> {
    fn new(inner: F, deadline: Deadline, context: Option<Context>) -> Self {
        Self { inner: Some(inner), sleep: Some(sleep_until(deadline.instant())), context }
    }
}

impl<F: Future> Future for Limited<F> {
    /// `None` if the deadline has passed.
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let _attached = this.context.as_ref().map(|context| context.clone().attach());
        if let Poll::Ready(output) = inner.poll(cx) {
            return Poll::Ready(Some(output));
        }
        let Some(sleep) = this.sleep.as_pin_mut() else { return Poll::Pending };
        ready!(sleep.poll(cx));
        DropReason::Timeout.apply(|| this.inner.set(None));
        Poll::Ready(None)
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let output = ready!(this.limited.as_mut().poll(cx));
        Poll::Ready(match output {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(at_deadline(error.into(), this.limited.sleep.as_ref())),
            None => Err(this.error.clone().into()),
        })
    }
}

impl<F, B, E> Future for DeadlineServerFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.limited.poll(cx).map(|output| output.unwrap_or_else(|| Ok(expired(*this.is_grpc))))
    }
}

/// Returns the error of a call. A client that obeys the header itself, as tonic's does, ends the call at the deadline as well: its
/// time-out is the deadline's.
#[cold]
fn at_deadline(error: BoxError, sleep: Option<&Sleep>) -> BoxError {
    let is_over = sleep.is_some_and(|sleep| sleep.deadline() <= Instant::now() + TICK);
    if is_over && ErrorView::from_error(&*error).class() == Some(ErrorClass::Timeout) {
        return ResilienceError::TimedOut.into();
    }
    error
}

/// Returns the response to a caller that has given up.
#[cold]
fn expired<B: Default>(is_grpc: bool) -> Response<B> {
    Context::map_current(|context| context.span().add_event(DEADLINE_EXPIRED, Vec::new()));
    if is_grpc {
        return grpc::response(grpc::DEADLINE_EXCEEDED, "deadline exceeded");
    }
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response
}
