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

use crate::operation::{Operation, Record, inside};
use crate::outcome::Outcome;

/// What a transport learns from a body, and how the body's end ends the operation.
pub trait ObserveBody<E>: Record {
    /// A data frame of this many bytes went by.
    fn data(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// The body ended, with trailers or without.
    fn ended(&mut self, trailers: Option<&HeaderMap>) -> Outcome;

    /// The body failed.
    fn failed(&mut self, error: &E) -> Outcome;
}

pin_project! {
    /// A body that an operation lasts as long as.
    ///
    /// Dropped before its end, it ends the operation as abandoned. HTTP libraries drop a body whose last
    /// frame they have seen without polling it to `None`; such a body has ended.
    pub struct OperationBody<B: Body, R: ObserveBody<B::Error>> {
        #[pin]
        inner: B,
        operation: Option<Operation<R>>,
        // Where the operation has ended before the body (an event stream), user code still runs in here.
        context: Option<Context>,
        // How many bytes are to come, where that is known: after the last nobody need poll again.
        remaining: Option<u64>,
    }

    impl<B: Body, R: ObserveBody<B::Error>> PinnedDrop for OperationBody<B, R> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if *this.remaining == Some(0) || this.inner.is_end_stream() {
                end::<B, R>(this.operation, None);
            }
        }
    }
}

impl<B: Body, R: ObserveBody<B::Error>> OperationBody<B, R> {
    /// A body that nothing is recorded of.
    pub fn untouched(inner: B) -> Self {
        Self { inner, operation: None, context: None, remaining: None }
    }

    /// A body whose end is the end of `operation`. `length` is what the message says of its length in bytes,
    /// where the body itself does not.
    pub fn new(inner: B, operation: Operation<R>, length: Option<u64>) -> Self {
        let remaining = inner.size_hint().exact().or(length);
        let mut operation = Some(operation);
        let mut context = None;
        if inner.is_end_stream() {
            context = operation.as_ref().map(|operation| operation.context().clone());
            end::<B, R>(&mut operation, None);
        }
        Self { inner, operation, context, remaining }
    }

    /// A body whose operation has ended already, but whose code still runs in the operation's context.
    pub fn after(inner: B, context: Context) -> Self {
        Self { inner, operation: None, context: Some(context), remaining: None }
    }
}

fn end<B: Body, R: ObserveBody<B::Error>>(
    operation: &mut Option<Operation<R>>,
    trailers: Option<&HeaderMap>,
) {
    if let Some(mut operation) = operation.take() {
        let outcome = operation.record_mut().ended(trailers);
        operation.finish(&outcome);
    }
}

impl<B: Body, R: ObserveBody<B::Error>> Body for OperationBody<B, R> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let mut inner = this.inner;
        let attached = this.context.as_ref().map(|context| context.clone().attach());
        let frame = ready!(inside(this.operation, || inner.as_mut().poll_frame(cx)));
        drop(attached);
        if this.operation.is_none() {
            return Poll::Ready(frame);
        }
        match &frame {
            None => end::<B, R>(this.operation, None),
            Some(Err(error)) => {
                if let Some(mut operation) = this.operation.take() {
                    let outcome = operation.record_mut().failed(error);
                    operation.finish(&outcome);
                }
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let bytes = data.remaining();
                    *this.remaining = this.remaining.map(|left| left.saturating_sub(bytes as u64));
                    if let Some(operation) = this.operation {
                        operation.record_mut().data(bytes);
                    }
                }
                let trailers = frame.trailers_ref();
                if trailers.is_some() || inner.is_end_stream() {
                    end::<B, R>(this.operation, trailers);
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

impl<B: Body + Default, R: ObserveBody<B::Error>> Default for OperationBody<B, R> {
    fn default() -> Self {
        Self::untouched(B::default())
    }
}

impl<B: Body, R: ObserveBody<B::Error>> fmt::Debug for OperationBody<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationBody").field("operation", &self.operation).finish_non_exhaustive()
    }
}
