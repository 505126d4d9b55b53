//! The server layer: it reads the deadline of the caller, makes it the one of the request's context, and stops work at it.
//!
//! Follows [gRPC's deadlines](https://grpc.io/docs/guides/deadlines/), "Deadlines on the Server".

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{Request, Response};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};
use otel_request::{DEADLINE_REMAINING, Deadline};
use tower_layer::Layer;
use tower_service::Service;

use super::future::DeadlineServerFuture;
use super::header::DeadlineHeader;

/// A layer that runs each request within the deadline of its caller. Put it inside of the server layer, whose span then has the
/// attribute `resilience.deadline.remaining`.
///
/// At the deadline the handler is dropped, and the response is 504, or for gRPC `DEADLINE_EXCEEDED`. The deadline covers the
/// handler up to the response's head. A header that is not valid is ignored.
///
/// ```
/// use std::time::Duration;
/// use otel_resilience::{DeadlineHeader, DeadlineServerLayer};
/// let header = DeadlineHeader::milliseconds(http::HeaderName::from_static("x-timeout-ms"));
/// let layer = DeadlineServerLayer::new(header).with_maximum(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
pub struct DeadlineServerLayer(Arc<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    header: DeadlineHeader,
    maximum: Option<Duration>,
}

impl DeadlineServerLayer {
    /// Creates a layer that reads this header. Requests without it have no deadline.
    #[must_use]
    pub fn new(header: DeadlineHeader) -> Self {
        Self(Arc::new(Settings { header, maximum: None }))
    }

    /// Sets the longest time of a request, also of one without the header. Default: none.
    #[must_use]
    pub fn with_maximum(mut self, maximum: Duration) -> Self {
        Arc::make_mut(&mut self.0).maximum = Some(maximum);
        self
    }
}

impl<S> Layer<S> for DeadlineServerLayer {
    type Service = DeadlineServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineServerService { inner, settings: Arc::clone(&self.0) }
    }
}

/// A server whose requests end at the deadline of their caller.
#[derive(Clone, Debug)]
pub struct DeadlineServerService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for DeadlineServerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = DeadlineServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Settings { header, maximum } = &*self.settings;
        let left = match (header.read(request.headers()), *maximum) {
            (Some(left), Some(maximum)) => left.min(maximum),
            (None, None) => return DeadlineServerFuture::unlimited(self.inner.call(request)),
            (left, maximum) => left.or(maximum).unwrap_or_default(),
        };
        let deadline = Deadline::after(left);
        let context = Context::map_current(|context| {
            let span = context.span();
            if span.is_recording() {
                span.set_attribute(KeyValue::new(DEADLINE_REMAINING, left.as_secs_f64()));
            }
            deadline.in_context(context)
        });
        if left.is_zero() {
            return DeadlineServerFuture::expired(header.is_grpc());
        }
        let future = {
            let _attached = context.clone().attach();
            self.inner.call(request)
        };
        DeadlineServerFuture::limited(future, deadline, context, header.is_grpc())
    }
}
