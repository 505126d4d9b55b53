//! Futures that run in the context of an operation: the answers of a database.
//!
//! Follows the OpenTelemetry specification, "Context interaction"
//! (<https://opentelemetry.io/docs/specs/otel/trace/api/#context-interaction>).

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use pin_project_lite::pin_project;

use crate::operation::DatabaseOperation;
use crate::outcome::DatabaseOutcome;

impl DatabaseOperation {
    /// Runs a future inside the operation and ends it with the outcome that `outcome` derives from the output. `outcome` may
    /// count rows on the operation. If the future is dropped, the operation ends as `cancelled`.
    pub fn run_with<F, C>(self, future: F, outcome: C) -> OperationFuture<F, C>
    where
        F: Future,
        C: FnOnce(&mut DatabaseOperation, &F::Output) -> DatabaseOutcome,
    {
        OperationFuture { inner: future, operation: self, outcome: Some(outcome) }
    }
}

pin_project! {
    /// A future in whose polls the operation's context is current, and which ends the operation with its output. See
    /// [`DatabaseOperation::run_with`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct OperationFuture<F, C> {
        // Declared before `operation`, so that the future is dropped before the operation ends.
        #[pin]
        inner: F,
        // Ended in place, because moving it costs more than ending it.
        operation: DatabaseOperation,
        outcome: Option<C>,
    }
}

impl<F, C> Future for OperationFuture<F, C>
where
    F: Future,
    C: FnOnce(&mut DatabaseOperation, &F::Output) -> DatabaseOutcome,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let output = ready!(this.operation.inside(|| inner.poll(cx)));
        if let Some(outcome) = this.outcome.take() {
            let outcome = outcome(this.operation, &output);
            this.operation.end(&outcome);
        }
        Poll::Ready(output)
    }
}
