//! The future wrapper that attaches an operation's context around every poll and passes the operation to the
//! transport when the wrapped future completes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use pin_project_lite::pin_project;

use crate::operation::{Operation, Record};

/// Conversion of a wrapped future's output by the transport.
pub trait Complete<T>: Record + Sized {
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
    /// Dropping it before completion finishes the operation with [`Record::abandoned`]; a panic in the wrapped future
    /// finishes it with [`Outcome::panicked`](crate::Outcome::panicked).
    pub struct OperationFuture<F, R: Record> {
        // Declared before `operation`, so that the inner future is dropped before the operation ends.
        #[pin]
        inner: F,
        operation: Option<Operation<R>>,
    }
}

impl<F, R: Record> OperationFuture<F, R> {
    /// Wraps `inner`; without an operation it is polled as it is.
    pub fn new(inner: F, operation: Option<Operation<R>>) -> Self {
        Self { inner, operation }
    }
}

impl<F, R> Future for OperationFuture<F, R>
where
    F: Future,
    R: Complete<F::Output>,
{
    type Output = R::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let output = ready!(match this.operation {
            Some(operation) => operation.inside(|| inner.poll(cx)),
            None => inner.poll(cx),
        });
        Poll::Ready(R::complete(this.operation.take(), output))
    }
}

impl<F, R: Record> fmt::Debug for OperationFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationFuture").field("operation", &self.operation).finish_non_exhaustive()
    }
}
