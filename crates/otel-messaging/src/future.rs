//! Futures that run in the context of an operation: handlers, and answers of the broker.
//!
//! Follows the OpenTelemetry specification, "Context interaction"
//! (<https://opentelemetry.io/docs/specs/otel/trace/api/#context-interaction>): the operation's span is current
//! wherever its code runs.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use otel_operation::Outcome;
use pin_project_lite::pin_project;

use crate::handler_outcome::HandlerOutcome;
use crate::operation::MessagingOperation;

impl MessagingOperation {
    /// Runs a handler inside the operation, whose context is current during each poll, and ends it with the outcome of
    /// the handler's output.
    pub async fn run<T: HandlerOutcome>(self, handler: impl Future<Output = T>) -> T {
        self.run_with(handler, T::outcome).await
    }

    /// Runs a future inside the operation and ends it with the outcome that `outcome` derives from the output, such as a
    /// broker's answer. If the future is dropped, the operation ends as a dropped one does.
    pub async fn run_with<T>(
        self,
        future: impl Future<Output = T>,
        outcome: impl FnOnce(&T) -> Outcome,
    ) -> T {
        let (operation, output) = InOperation::new(future, self).await;
        if let Some(operation) = operation {
            operation.finish(&outcome(&output));
        }
        output
    }
}

pin_project! {
    /// A future in whose polls the operation's context is current. It resolves to the unfinished operation and the
    /// output.
    struct InOperation<F> {
        // Declared before `operation`, so that the future is dropped before the operation ends.
        #[pin]
        inner: F,
        operation: Option<MessagingOperation>,
    }
}

impl<F> InOperation<F> {
    fn new(inner: F, operation: MessagingOperation) -> Self {
        Self { inner, operation: Some(operation) }
    }
}

impl<F: Future> Future for InOperation<F> {
    type Output = (Option<MessagingOperation>, F::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let output = ready!(match this.operation {
            Some(operation) => operation.inside(|| inner.poll(cx)),
            None => inner.poll(cx),
        });
        Poll::Ready((this.operation.take(), output))
    }
}
