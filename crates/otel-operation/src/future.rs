//! The future of an operation: keeps its context attached around every poll and hands the operation to the
//! transport when the answer is there.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use pin_project_lite::pin_project;

use crate::operation::{Operation, Record};

/// What a transport makes of the output of the future that it has wrapped.
///
/// The operation is `None` where the transport chose to record nothing (a filtered request).
pub trait Complete<T>: Record + Sized {
    /// The output of the wrapping future.
    type Output;

    /// Ends the operation, or hands it on to a response body.
    fn complete(operation: Option<Operation<Self>>, output: T) -> Self::Output;
}

pin_project! {
    /// A future that runs inside an operation.
    ///
    /// Dropped before it is ready, it ends the operation as abandoned; a panic in it ends it as panicked.
    pub struct OperationFuture<F, R: Record> {
        // Before the operation, so that what the future's drop does still happens inside of it.
        #[pin]
        inner: F,
        operation: Option<Operation<R>>,
    }
}

impl<F, R: Record> OperationFuture<F, R> {
    /// Runs `inner` inside `operation`.
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
