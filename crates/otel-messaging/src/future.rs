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
    pub fn run<T: HandlerOutcome>(self, handler: impl Future<Output = T>) -> impl Future<Output = T> {
        self.run_with(handler, T::outcome)
    }

    /// Runs a future inside the operation and ends it with the outcome that `outcome` derives from the output, such as a
    /// broker's answer. If the future is dropped, its drop runs inside too, and the operation ends as a dropped one does.
    pub fn run_with<T>(
        self,
        future: impl Future<Output = T>,
        outcome: impl FnOnce(&T) -> Outcome,
    ) -> impl Future<Output = T> {
        InOperation { inner: Some(future), operation: self, outcome: Some(outcome) }
    }
}

pin_project! {
    /// A future in whose polls and in whose drop the operation's context is current, and which ends the operation with its
    /// output.
    #[must_use = "futures do nothing unless polled"]
    struct InOperation<F, C> {
        // `None` after its end. It is dropped before the operation ends, because its guards record until then.
        #[pin]
        inner: Option<F>,
        // Ended in place, because moving it costs more than ending it.
        operation: MessagingOperation,
        outcome: Option<C>,
    }

    impl<F, C> PinnedDrop for InOperation<F, C> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() {
                this.operation.inside(|| this.inner.set(None));
            }
        }
    }
}

impl<F: Future, C: FnOnce(&F::Output) -> Outcome> Future for InOperation<F, C> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let output = ready!(this.operation.inside(|| poll_inner(inner, cx)));
        if let Some(outcome) = this.outcome.take() {
            this.operation.end(&outcome(&output));
        }
        Poll::Ready(output)
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
