//! The body wrapper that ends an operation at the body's last frame and attaches its context around every poll.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Buf as _;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::Context;
use pin_project_lite::pin_project;

use crate::operation::{Operation, OperationObserver};
use crate::outcome::Outcome;

/// Callbacks for the frames of a body. The end of the body or its failure determines the operation's outcome.
pub trait ObserveBody<B: Body>: OperationObserver + Sized {
    /// Called for each data frame, before it is returned to the reader.
    fn on_data(operation: &mut Operation<Self>, data: &B::Data) {
        let _ = (operation, data);
    }

    /// Returns the outcome of an operation whose body was read to its end, with or without trailers.
    fn on_end(&mut self, trailers: Option<&HeaderMap>) -> Outcome;

    /// Returns the outcome of an operation whose body failed.
    fn on_error(&mut self, error: &B::Error) -> Outcome;
}

const UNKNOWN: u64 = u64::MAX;

/// The operation or context in which a body is polled.
enum Around<O: OperationObserver> {
    /// An open operation, which ends with the body.
    Operation(Operation<O>),
    /// The context of an operation that ended before the body (an event stream): the body's code still runs in it.
    Context(Context),
    Nothing,
}

impl<O: OperationObserver> Around<O> {
    /// Ends the operation, if one is open, with the outcome that `outcome` derives from its record.
    fn end(&mut self, outcome: impl FnOnce(&mut O) -> Outcome) {
        if let Self::Operation(operation) = self {
            let outcome = outcome(operation.observer_mut());
            operation.end(&outcome);
            *self = Self::Nothing;
        }
    }
}

pin_project! {
    /// A body that keeps an operation open until its end.
    ///
    /// Dropping the body before its end finishes the operation with [`OperationObserver::outcome_if_dropped`]. HTTP libraries may drop a
    /// body after its last frame without polling it to `None`; such a body counts as ended.
    pub struct OperationBody<B: Body, O: ObserveBody<B>> {
        #[pin]
        inner: B,
        around: Around<O>,
        // Remaining bytes, or `UNKNOWN`. At 0 the body counts as ended, because readers need not poll it again.
        remaining: u64,
    }

    impl<B: Body, O: ObserveBody<B>> PinnedDrop for OperationBody<B, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if matches!(this.around, Around::Operation(_)) && (*this.remaining == 0 || this.inner.is_end_stream()) {
                this.around.end(|observer| ObserveBody::<B>::on_end(observer, None));
            }
        }
    }
}

impl<B: Body, O: ObserveBody<B>> OperationBody<B, O> {
    /// Wraps a body without recording anything.
    pub fn passthrough(inner: B) -> Self {
        Self { inner, around: Around::Nothing, remaining: UNKNOWN }
    }

    /// Wraps a body whose end finishes `operation`. `length` is the length in bytes that the message declares; it is
    /// used if the body's size hint is not exact.
    #[inline]
    pub fn new(inner: B, operation: Operation<O>, length: Option<u64>) -> Self {
        let remaining = inner.size_hint().exact().or(length).unwrap_or(UNKNOWN);
        let mut body = Self { inner, around: Around::Operation(operation), remaining };
        if body.inner.is_end_stream() {
            body.around.end(|observer| ObserveBody::<B>::on_end(observer, None));
        }
        body
    }

    /// Wraps a body whose operation has already ended; the body is still polled in the operation's context.
    pub fn with_context(inner: B, context: Context) -> Self {
        Self { inner, around: Around::Context(context), remaining: UNKNOWN }
    }
}

impl<B: Body, O: ObserveBody<B>> Body for OperationBody<B, O> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let mut inner = this.inner;
        let operation = match this.around {
            Around::Nothing => return inner.poll_frame(cx),
            Around::Context(context) => {
                let _attached = context.clone().attach();
                return inner.poll_frame(cx);
            }
            Around::Operation(operation) => operation,
        };
        let frame = ready!(operation.inside(|_| inner.as_mut().poll_frame(cx)));
        match &frame {
            None => this.around.end(|observer| ObserveBody::<B>::on_end(observer, None)),
            Some(Err(error)) => this.around.end(|observer| ObserveBody::<B>::on_error(observer, error)),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if *this.remaining != UNKNOWN {
                        *this.remaining = this.remaining.saturating_sub(data.remaining() as u64);
                    }
                    O::on_data(operation, data);
                }
                let trailers = frame.trailers_ref();
                if trailers.is_some() || inner.is_end_stream() {
                    this.around.end(|observer| ObserveBody::<B>::on_end(observer, trailers));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body + Default, O: ObserveBody<B>> Default for OperationBody<B, O> {
    fn default() -> Self {
        Self::passthrough(B::default())
    }
}

impl<B: Body, O: ObserveBody<B>> fmt::Debug for OperationBody<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match &self.around {
            Around::Operation(operation) => Some(operation),
            _ => None,
        };
        f.debug_struct("OperationBody").field("operation", &operation).finish_non_exhaustive()
    }
}
