//! The body of a request, which the connection polls: its messages are counted, in the call's context.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use pin_project_lite::pin_project;

use crate::attributes::MESSAGE;
use crate::messages::{Direction, Messages};
use crate::scanner::Scanner;

/// Wraps a request body so that it is polled in the call's context and its messages are counted. Only boxed body
/// types can be replaced in place: tonic's and, with the feature `axum`, axum's. Other types remain unchanged.
pub(crate) fn observe_request_body<B: 'static>(
    body: &mut B,
    messages: Option<Arc<Messages>>,
    context: Option<&Context>,
) {
    let Some(context) = context else { return };
    let body: &mut dyn Any = body;
    #[cfg(feature = "axum")]
    if let Some(body) = body.downcast_mut::<axum::body::Body>() {
        *body = axum::body::Body::new(ObservedBody::new(std::mem::take(body), messages, context));
        return;
    }
    if let Some(body) = body.downcast_mut::<tonic::body::Body>() {
        *body = tonic::body::Body::new(ObservedBody::new(std::mem::take(body), messages, context));
    }
}

pin_project! {
    /// A request body that is polled in its call's context, and whose messages are counted.
    struct ObservedBody<B> {
        #[pin]
        inner: B,
        scanner: Scanner,
        messages: Option<Arc<Messages>>,
        context: Context,
    }
}

impl<B> ObservedBody<B> {
    fn new(inner: B, messages: Option<Arc<Messages>>, context: &Context) -> Self {
        Self { inner, scanner: Scanner::default(), messages, context: context.clone() }
    }
}

impl<B: Body<Data = Bytes>> Body for ObservedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let attached = this.context.clone().attach();
        let frame = this.inner.poll_frame(cx);
        drop(attached);
        if let (Poll::Ready(Some(Ok(frame))), Some(messages)) = (&frame, this.messages)
            && let Some(data) = frame.data_ref()
        {
            let span = this.context.span();
            let add_event = |attributes| span.add_event(MESSAGE, attributes);
            messages.count(Direction::Request, this.scanner, data, span.is_recording().then_some(add_event));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
