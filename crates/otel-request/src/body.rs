//! The body of a response: the request ends with its last frame, and its context is current while the body is polled.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Buf as _;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::Context;
use otel_operation::{Operation, catch_panic};
use pin_project_lite::pin_project;

use crate::observer::RequestObserver;
use crate::record::RequestRecord;
use crate::scope::{end_response, fail};

/// A length that is not known.
const UNKNOWN: u64 = u64::MAX;

/// The part of a body in its operation.
#[derive(Clone, Copy)]
pub(crate) enum BodyPart {
    /// The operation ends with the body, which has this length in bytes according to the head.
    Operation(Option<u64>),
    /// The operation has ended with the head, and its observer observes the body.
    AfterEnd,
}

enum Around<C: RequestObserver> {
    Operation(Operation<RequestRecord<C>>),
    /// The operation has ended or the request is filtered, but the body is user code of the same request.
    Context(Context),
    Nothing,
}

pin_project! {
    /// The body of a response that a layer sees.
    ///
    /// HTTP libraries drop a body whose last frame they have seen without polling it to its end; such a body has ended. One
    /// that is dropped before ends the request as its observer says.
    pub struct RequestBody<B: Body, C: RequestObserver> {
        // `None` after its end. It is dropped before the operation ends, because layers inside report until then.
        #[pin]
        inner: Option<B>,
        around: Around<C>,
        // The number of bytes to come: after the last one the body is not polled again, and one that ends before is short.
        remaining: u64,
        // True if the operation ended with the head and its observer still observes the body.
        is_after_end: bool,
    }

    impl<B: Body, C: RequestObserver> PinnedDrop for RequestBody<B, C> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            match this.around {
                Around::Operation(operation) => {
                    let inner = this.inner.as_ref().as_pin_ref();
                    // A body that has panicked can panic again, and this can run while its thread unwinds.
                    let has_ended = *this.remaining == 0
                        || inner.is_none_or(|inner| catch_panic(|| inner.is_end_stream()) == Some(true));
                    operation.inside(|_| this.inner.set(None));
                    if *this.is_after_end {
                        operation.observer_mut().end_body();
                    } else if has_ended {
                        end_response(operation, None, is_short(*this.remaining));
                    }
                }
                Around::Context(context) => {
                    let _attached = context.clone().attach();
                    this.inner.set(None);
                }
                Around::Nothing => {}
            }
        }
    }
}

impl<B: Body, C: RequestObserver> RequestBody<B, C> {
    /// Returns a body that is not recorded; its code runs in `context`.
    #[inline]
    pub(crate) fn unrecorded(inner: B, context: Option<Context>) -> Self {
        let around = context.map_or(Around::Nothing, Around::Context);
        Self { inner: Some(inner), around, remaining: UNKNOWN, is_after_end: false }
    }

    /// Returns a body that belongs to `operation`.
    #[inline]
    pub(crate) fn recorded(inner: B, operation: Operation<RequestRecord<C>>, part: BodyPart) -> Self {
        let (remaining, is_after_end) = match part {
            // The declared length first: it is the one that the peer waits for.
            BodyPart::Operation(length) => {
                (length.or_else(|| inner.size_hint().exact()).unwrap_or(UNKNOWN), false)
            }
            BodyPart::AfterEnd => (UNKNOWN, true),
        };
        Self { inner: Some(inner), around: Around::Operation(operation), remaining, is_after_end }
    }
}

type PolledFrame<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Polls a body and drops it with its last frame, so that both happen in one scope of the operation's context. A body that
/// failed stays.
#[inline(always)]
fn poll_to_end<B: Body>(mut inner: Pin<&mut Option<B>>, cx: &mut TaskContext<'_>) -> PolledFrame<B> {
    let Some(mut body) = inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
    let polled = body.as_mut().poll_frame(cx);
    let is_last = match &polled {
        Poll::Pending | Poll::Ready(Some(Err(_))) => false,
        Poll::Ready(None) => true,
        Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || body.is_end_stream(),
    };
    if is_last {
        inner.set(None);
    }
    polled
}

#[cold]
fn poll_after_end<B: Body, C: RequestObserver>(
    operation: &mut Operation<RequestRecord<C>>,
    inner: Pin<&mut B>,
    cx: &mut TaskContext<'_>,
) -> PolledFrame<B> {
    let frame = operation.inside(|_| inner.poll_frame(cx));
    if let Poll::Ready(Some(Ok(frame))) = &frame
        && let Some(data) = frame.data_ref()
    {
        operation.observer_mut().observer.on_data(data, None);
    }
    frame
}

/// Returns true for a body that has ended with `remaining` bytes to come.
#[inline]
fn is_short(remaining: u64) -> bool {
    remaining != 0 && remaining != UNKNOWN
}

impl<B: Body, C: RequestObserver> Body for RequestBody<B, C>
where
    B::Error: 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let operation = match this.around {
            Around::Nothing => return inner.poll_frame(cx),
            Around::Context(context) => {
                let _attached = context.clone().attach();
                return inner.poll_frame(cx);
            }
            Around::Operation(operation) if *this.is_after_end => {
                let frame = ready!(poll_after_end(operation, inner, cx));
                if frame.is_none() {
                    operation.inside(|_| this.inner.set(None));
                    operation.observer_mut().end_body();
                    *this.around = Around::Nothing;
                }
                return Poll::Ready(frame);
            }
            Around::Operation(operation) => operation,
        };
        // The request is not entered as an owner: an inner layer joins before there is a response.
        let frame = ready!(operation.inside(|_| poll_to_end(this.inner.as_mut(), cx)));
        let trailers = match &frame {
            None => None,
            Some(Err(error)) => {
                fail(operation, error);
                let context = operation.context().clone();
                *this.around = Around::Context(context);
                return Poll::Ready(frame);
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if *this.remaining != UNKNOWN {
                        *this.remaining = this.remaining.saturating_sub(data.remaining() as u64);
                    }
                    let (record, span) = operation.parts();
                    record.observer.on_data(data, record.place.span(span).as_ref());
                }
                frame.trailers_ref()
            }
        };
        if this.inner.is_some() {
            return Poll::Ready(frame);
        }
        end_response(operation, trailers, is_short(*this.remaining));
        *this.around = Around::Nothing;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body + Default, C: RequestObserver> Default for RequestBody<B, C> {
    fn default() -> Self {
        Self::unrecorded(B::default(), None)
    }
}

impl<B: Body, C: RequestObserver> fmt::Debug for RequestBody<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_recorded = matches!(self.around, Around::Operation(_));
        f.debug_struct("RequestBody").field("recorded", &is_recorded).finish_non_exhaustive()
    }
}
