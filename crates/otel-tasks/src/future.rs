//! The futures that run in a context: with an operation, which ends with the output, or with the context alone.
//!
//! Follows the OpenTelemetry specification, "Context interaction"
//! (<https://opentelemetry.io/docs/specs/otel/trace/api/#context-interaction>): the operation's span is current wherever its
//! code runs, which includes the drop of a future that is aborted.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use opentelemetry::Context;
use otel_operation::Outcome;
use pin_project_lite::pin_project;

use crate::context::can_attach;
use crate::operation::{TaskOperation, derive_outcome};

pin_project! {
    /// A task inside of its span. The span is current in each poll, and in the drop of a task that has not ended, and ends
    /// with the output.
    #[must_use = "futures do nothing unless polled"]
    pub struct TaskFuture<F, C = fn(&<F as Future>::Output) -> Outcome> {
        // `None` after its end.
        #[pin]
        inner: Option<F>,
        operation: TaskOperation,
        outcome: Option<C>,
    }

    impl<F, C> PinnedDrop for TaskFuture<F, C> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() && can_attach() {
                this.operation.inside(|| this.inner.set(None));
            }
        }
    }
}

impl<F, C> TaskFuture<F, C> {
    pub(crate) fn new(inner: F, operation: TaskOperation, outcome: C) -> Self {
        Self { inner: Some(inner), operation, outcome: Some(outcome) }
    }
}

impl<F: Future, C: FnOnce(&F::Output) -> Outcome> Future for TaskFuture<F, C> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.operation.leave_queue();
        let (inner, outcome) = (&mut this.inner, this.outcome);
        let polled = this.operation.inside(|| {
            let Some(polled) = inner.as_mut().as_pin_mut().map(|inner| inner.poll(cx)) else {
                return Poll::Pending;
            };
            let output = ready!(polled);
            inner.set(None);
            let outcome = outcome.take().map(|outcome| derive_outcome(&output, outcome));
            Poll::Ready((output, outcome))
        });
        let (output, outcome) = ready!(polled);
        if let Some(outcome) = outcome {
            this.operation.end(&outcome);
        }
        Poll::Ready(output)
    }
}

impl<F, C> fmt::Debug for TaskFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskFuture").field("operation", &self.operation).finish_non_exhaustive()
    }
}

pin_project! {
    /// A future in whose polls, and in whose drop, a context is current.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct ContextFuture<F> {
        #[pin]
        inner: Option<F>,
        context: Context,
    }

    impl<F> PinnedDrop for ContextFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() && can_attach() {
                let _attached = this.context.clone().attach();
                this.inner.set(None);
            }
        }
    }
}

impl<F> ContextFuture<F> {
    /// Runs `inner` in the context that is current now.
    pub(crate) fn current(inner: F) -> Self {
        Self { inner: Some(inner), context: Context::current() }
    }
}

impl<F: Future> Future for ContextFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Pending };
        let attached = this.context.clone().attach();
        let output = ready!(inner.poll(cx));
        this.inner.set(None);
        drop(attached);
        Poll::Ready(output)
    }
}
