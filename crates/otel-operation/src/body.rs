//! A body that belongs to an operation: it ends with the last frame, and its context is current while the
//! body is polled.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Buf as _;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::Context;
use pin_project_lite::pin_project;

use crate::operation::{Operation, Record};
use crate::outcome::Outcome;

/// What a transport learns from a body, and how the body's end ends the operation.
pub trait ObserveBody<B: Body>: Record + Sized {
    /// A data frame went by.
    fn data(operation: &mut Operation<Self>, data: &B::Data) {
        let _ = (operation, data);
    }

    /// The body ended, with trailers or without.
    fn ended(&mut self, trailers: Option<&HeaderMap>) -> Outcome;

    /// The body failed.
    fn failed(&mut self, error: &B::Error) -> Outcome;
}

/// A length that is not known.
const UNKNOWN: u64 = u64::MAX;

/// What goes on around a body.
enum Around<R: Record> {
    /// The operation lasts as long as the body.
    Operation(Operation<R>),
    /// The operation has ended before the body (an event stream), but user code still runs in its context.
    Context(Context),
    Nothing,
}

impl<R: Record> Around<R> {
    /// Ends the operation, if there is one, with the outcome that its record says.
    fn end(&mut self, outcome: impl FnOnce(&mut R) -> Outcome) {
        if let Self::Operation(operation) = self {
            let outcome = outcome(operation.record_mut());
            operation.end(&outcome);
            *self = Self::Nothing;
        }
    }
}

pin_project! {
    /// A body that an operation lasts as long as.
    ///
    /// Dropped before its end, it ends the operation as abandoned. HTTP libraries drop a body whose last
    /// frame they have seen without polling it to `None`; such a body has ended.
    pub struct OperationBody<B: Body, R: ObserveBody<B>> {
        #[pin]
        inner: B,
        around: Around<R>,
        // How many bytes are to come: after the last nobody need poll again.
        remaining: u64,
    }

    impl<B: Body, R: ObserveBody<B>> PinnedDrop for OperationBody<B, R> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if matches!(this.around, Around::Operation(_)) && (*this.remaining == 0 || this.inner.is_end_stream()) {
                this.around.end(|record| ObserveBody::<B>::ended(record, None));
            }
        }
    }
}

impl<B: Body, R: ObserveBody<B>> OperationBody<B, R> {
    /// A body that nothing is recorded of.
    pub fn untouched(inner: B) -> Self {
        Self { inner, around: Around::Nothing, remaining: UNKNOWN }
    }

    /// A body whose end is the end of `operation`. `length` is what the message says of its length in bytes,
    /// where the body itself does not.
    #[inline]
    pub fn new(inner: B, operation: Operation<R>, length: Option<u64>) -> Self {
        let remaining = inner.size_hint().exact().or(length).unwrap_or(UNKNOWN);
        let mut body = Self { inner, around: Around::Operation(operation), remaining };
        if body.inner.is_end_stream() {
            body.around.end(|record| ObserveBody::<B>::ended(record, None));
        }
        body
    }

    /// A body whose operation has ended already, but whose code still runs in the operation's context.
    pub fn after(inner: B, context: Context) -> Self {
        Self { inner, around: Around::Context(context), remaining: UNKNOWN }
    }
}

impl<B: Body, R: ObserveBody<B>> Body for OperationBody<B, R> {
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
        let frame = ready!(operation.inside(|| inner.as_mut().poll_frame(cx)));
        match &frame {
            None => this.around.end(|record| ObserveBody::<B>::ended(record, None)),
            Some(Err(error)) => this.around.end(|record| ObserveBody::<B>::failed(record, error)),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if *this.remaining != UNKNOWN {
                        *this.remaining = this.remaining.saturating_sub(data.remaining() as u64);
                    }
                    R::data(operation, data);
                }
                let trailers = frame.trailers_ref();
                if trailers.is_some() || inner.is_end_stream() {
                    this.around.end(|record| ObserveBody::<B>::ended(record, trailers));
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

impl<B: Body + Default, R: ObserveBody<B>> Default for OperationBody<B, R> {
    fn default() -> Self {
        Self::untouched(B::default())
    }
}

impl<B: Body, R: ObserveBody<B>> fmt::Debug for OperationBody<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match &self.around {
            Around::Operation(operation) => Some(operation),
            _ => None,
        };
        f.debug_struct("OperationBody").field("operation", &operation).finish_non_exhaustive()
    }
}
