//! Request bodies that can be sent again, for body types that cannot be cloned.
//!
//! Follows [gRPC's retry design](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#memory-management-buffering),
//! "Memory Management (Buffering)": a message beyond the limit is sent once.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::clone_request::{CloneRequest, clone_with_body};

/// A layer that reads request bodies of at most some bytes before they are sent, as far as they are ready at once: a message of a
/// unary gRPC call is, a stream of messages is not. Use it around retry or hedging with [`CloneReplay`], and convert the
/// [`ReplayBody`] below them.
///
/// ```
/// use otel_resilience::{CloneReplay, ReplayBody, ReplayLayer, Retry, RetryLayer};
/// use tower::ServiceBuilder;
///
/// # fn client(channel: tonic::transport::Channel) {
/// let client = ServiceBuilder::new()
///     .layer(ReplayLayer::new(64 * 1024))
///     .layer(RetryLayer::grpc(Retry::new("stock")).with_clone_request(CloneReplay::default()))
///     .map_request(|request: http::Request<ReplayBody<_>>| request.map(tonic::body::Body::new))
///     .layer(otel_grpc::ClientLayer::new())
///     .service(channel);
/// # let client = tonic_health::pb::health_client::HealthClient::new(client);
/// # let _ = client;
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReplayLayer {
    max_bytes: usize,
}

impl ReplayLayer {
    /// Creates a layer for bodies of at most `max_bytes`. Larger ones, and those that are not ready, are sent once.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes }
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = ReplayService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReplayService { inner, layer: *self }
    }
}

/// A service whose requests can be sent again.
#[derive(Clone, Debug)]
pub struct ReplayService<S> {
    inner: S,
    layer: ReplayLayer,
}

impl<S, B> Service<Request<B>> for ReplayService<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body + Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request.map(|body| ReplayBody::read(body, self.layer.max_bytes)))
    }
}

/// A request body whose beginning was read before it is sent.
pub struct ReplayBody<B: Body> {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// The unread part; `None` after the end of the body.
    rest: Option<Rest<B, B::Error>>,
}

// Its error is never pinned.
impl<B: Body + Unpin> Unpin for ReplayBody<B> {}

enum Rest<B, E> {
    Body(B),
    Error(E),
}

impl<B: Body + Unpin> ReplayBody<B> {
    fn read(mut body: B, max_bytes: usize) -> Self {
        let (mut data, mut trailers, mut size) = (VecDeque::new(), None, 0_usize);
        // A body that is not ready is polled again by whatever sends it, which registers its own waker then.
        let mut cx = TaskContext::from_waker(Waker::noop());
        let rest = loop {
            if size > max_bytes {
                break Some(Rest::Body(body));
            }
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Pending => break Some(Rest::Body(body)),
                Poll::Ready(None) => break None,
                Poll::Ready(Some(Err(error))) => break Some(Rest::Error(error)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut frame) => {
                        let bytes = frame.copy_to_bytes(frame.remaining());
                        // An empty frame counts too, because there could be no end of them.
                        size = size.saturating_add(bytes.len().max(1));
                        data.push_back(bytes);
                    }
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
        };
        Self { data, trailers, rest }
    }
}

impl<B: Body + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(data) = this.data.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(Rest::Body(body)) = &mut this.rest {
            if let Some(frame) = ready!(Pin::new(body).poll_frame(cx)) {
                let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                return Poll::Ready(Some(frame.map(|frame| frame.map_data(bytes))));
            }
            this.rest = None;
        }
        match this.rest.take() {
            Some(Rest::Error(error)) => Poll::Ready(Some(Err(error))),
            _ => Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_read = match &self.rest {
            None => true,
            Some(Rest::Body(body)) => body.is_end_stream(),
            Some(Rest::Error(_)) => false,
        };
        is_read && self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.data.iter().map(|data| data.len() as u64).sum();
        match &self.rest {
            None => SizeHint::with_exact(read),
            Some(Rest::Error(_)) => SizeHint::default(),
            Some(Rest::Body(body)) => {
                let rest = body.size_hint();
                let mut hint = SizeHint::new();
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
                    hint.set_upper(upper);
                }
                hint.set_lower(rest.lower().saturating_add(read));
                hint
            }
        }
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("is_complete", &self.rest.is_none()).finish_non_exhaustive()
    }
}

/// Clones requests whose [`ReplayBody`] was read completely; its data are shared. Others are sent once.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CloneReplay;

impl<B: Body> CloneRequest<ReplayBody<B>> for CloneReplay {
    fn clone_request(&self, request: &Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        let ReplayBody { data, trailers, rest: None } = request.body() else { return None };
        let body = ReplayBody { data: data.clone(), trailers: trailers.clone(), rest: None };
        Some(clone_with_body(request, body))
    }
}
