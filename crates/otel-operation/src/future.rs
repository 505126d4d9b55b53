//! The future wrapper that attaches an operation's context around every poll and around the drop, and passes the operation
//! to the transport when the wrapped future completes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use pin_project_lite::pin_project;

use crate::operation::{Operation, OperationObserver};

/// Conversion of a wrapped future's output by the transport.
pub trait FinishOnOutput<T>: OperationObserver + Sized {
    /// The output of the [`OperationFuture`].
    type Output;

    /// Ends the operation or moves it into a response body.
    ///
    /// `operation` is `None` if the transport records nothing (a filtered request).
    fn complete(operation: Option<Operation<Self>>, output: T) -> Self::Output;
}

pin_project! {
    /// A future that is polled in the context of an operation.
    ///
    /// Dropping it before completion drops the wrapped future in the operation's context, then finishes the operation with
    /// [`OperationObserver::outcome_if_dropped`]; a panic in the wrapped future finishes it with
    /// [`Outcome::panicked`](crate::Outcome::panicked).
    pub struct OperationFuture<F, O: OperationObserver> {
        // `None` after its end. It is dropped before the operation ends, because its guards record until then.
        #[pin]
        inner: Option<F>,
        operation: Option<Operation<O>>,
    }

    impl<F, O: OperationObserver> PinnedDrop for OperationFuture<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // `None` after the end of the future.
            if let Some(operation) = this.operation {
                operation.inside(|_| this.inner.set(None));
            }
        }
    }
}

impl<F, O: OperationObserver> OperationFuture<F, O> {
    /// Wraps `inner`; without an operation it is polled as it is.
    pub fn new(inner: F, operation: Option<Operation<O>>) -> Self {
        Self { inner: Some(inner), operation }
    }
}

impl<F, O> Future for OperationFuture<F, O>
where
    F: Future,
    O: FinishOnOutput<F::Output>,
{
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let output = ready!(match this.operation {
            Some(operation) => operation.inside(|_| poll_inner(inner, cx)),
            None => poll_inner(inner, cx),
        });
        Poll::Ready(O::complete(this.operation.take(), output))
    }
}

/// Polls the future, and drops it when it is ready.
#[inline]
#[expect(clippy::panic, reason = "the contract of `Future`, as of every future after its end")]
fn poll_inner<F: Future>(mut inner: Pin<&mut Option<F>>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
    let Some(future) = inner.as_mut().as_pin_mut() else {
        panic!("the future of an operation was polled after its end")
    };
    let output = future.poll(cx);
    if output.is_ready() {
        inner.set(None);
    }
    output
}

impl<F, O: OperationObserver> fmt::Debug for OperationFuture<F, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationFuture").field("operation", &self.operation).finish_non_exhaustive()
    }
}
