//! The sizes of bodies, counted as they pass, and the wrapper that counts a request's.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-metrics/),
//! `http.server.request.body.size` and its siblings: the payload's bytes as transferred.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use otel_request::EndsWith;
use pin_project_lite::pin_project;

use crate::exchange::{LONGEST, content_length};
use crate::metrics::Sizes;

/// The body sizes of one request, in bytes.
#[derive(Debug)]
pub(crate) struct BodySizes {
    request: RequestSize,
    response: u64,
    /// True if the response's body outlasts the operation, so that its end records the sizes.
    is_late: bool,
}

#[derive(Debug)]
pub enum RequestSize {
    /// Of a body that is not counted.
    Known(Option<u64>),
    Counted(Arc<AtomicU64>),
}

impl BodySizes {
    /// Returns the sizes of a request whose body is not observed yet.
    pub(crate) fn new(headers: &HeaderMap) -> Box<Self> {
        let request = RequestSize::Known(content_length(headers));
        Box::new(Self { request, response: 0, is_late: false })
    }

    pub(crate) fn set_request(&mut self, size: RequestSize) {
        self.request = size;
    }

    /// Leaves the recording of the sizes to the end of the response's body, after the operation.
    pub(crate) fn defer(&mut self) -> EndsWith {
        self.is_late = true;
        EndsWith::HeadBeforeBody
    }

    pub(crate) fn is_late(&self) -> bool {
        self.is_late
    }

    #[inline]
    pub(crate) fn add_response(&mut self, data: &impl Buf) {
        self.response = self.response.saturating_add(data.remaining() as u64);
    }

    /// Returns the sizes until now. Without a response its body has none.
    pub(crate) fn measured(&self, has_response: bool) -> Sizes {
        let request = match &self.request {
            RequestSize::Known(size) => *size,
            // Relaxed: the count orders nothing else.
            RequestSize::Counted(bytes) => Some(bytes.load(Ordering::Relaxed)),
        };
        Sizes { request, response: has_response.then_some(self.response) }
    }
}

/// Wraps a request body so that its bytes are counted, if its type can be replaced in place; otherwise returns the size that
/// it declares.
pub(crate) fn observe_request<B: Body + 'static>(request: &mut Request<B>) -> RequestSize {
    let exact = request.body().size_hint().exact().filter(|size| *size <= LONGEST);
    let declared = exact.or_else(|| content_length(request.headers()));
    let body: &mut dyn Any = request.body_mut();
    #[cfg(feature = "axum")]
    if let Some(body) = body.downcast_mut::<axum::body::Body>() {
        let (counted, size) = CountedBody::new(std::mem::take(body));
        *body = axum::body::Body::new(counted);
        return size;
    }
    let _ = body;
    RequestSize::Known(declared)
}

pin_project! {
    /// A request body whose bytes are counted.
    pub(crate) struct CountedBody<B> {
        #[pin]
        inner: B,
        bytes: Arc<AtomicU64>,
    }
}

impl<B> CountedBody<B> {
    #[cfg_attr(
        not(any(feature = "axum", feature = "reqwest")),
        expect(dead_code, reason = "no type to replace")
    )]
    pub(crate) fn new(inner: B) -> (Self, RequestSize) {
        let bytes = Arc::new(AtomicU64::new(0));
        let size = RequestSize::Counted(Arc::clone(&bytes));
        (Self { inner, bytes }, size)
    }
}

impl<B: Body<Data = Bytes>> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = this.inner.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
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
