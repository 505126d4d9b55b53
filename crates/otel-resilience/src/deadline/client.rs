//! The client layer: it refuses calls that cannot make their deadline, sends the time that is left, and ends calls at it.
//!
//! Follows [gRPC's deadlines](https://grpc.io/docs/guides/deadlines/), "Deadline Propagation".

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{Request, Response};
use opentelemetry::Context;
use otel_request::Deadline;
use tower_layer::Layer;
use tower_service::Service;

use super::future::DeadlineFuture;
use super::header::DeadlineHeader;
use crate::error::{BoxError, ResilienceError};
use crate::instrumentation::ResilienceInstrumentation;
use crate::policy::Policy;

/// The shortest time in which a call can succeed, by default.
const MINIMUM: Duration = Duration::from_millis(1);

/// A layer that keeps calls within the [`Deadline`] of their context. Put it around the client layer, inside of retries and of
/// a circuit breaker, so that each attempt sends the time that is left then.
///
/// A call that ends here has the error [`ResilienceError::TimedOut`], and the client span inside has the `error.type` `timeout`. The
/// deadline covers the call up to the response's head.
///
/// ```
/// use std::time::Duration;
/// use otel_resilience::{DeadlineHeader, DeadlineLayer};
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyClient;
/// let header = http::HeaderName::from_static("x-timeout-ms");
/// let deadline = DeadlineLayer::new().with_header(DeadlineHeader::milliseconds(header));
/// let client = otel_http::ClientLayer::new().layer(MyClient);
/// let client = deadline.with_timeout(Duration::from_secs(2)).layer(client);
/// ```
#[derive(Clone, Debug)]
pub struct DeadlineLayer(Arc<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    header: Option<DeadlineHeader>,
    timeout: Option<Duration>,
    minimum: Duration,
    reserve: Duration,
    /// True if the code inside of the layer sees its time-out as a deadline.
    is_shared: bool,
    policy: Policy,
}

impl Default for DeadlineLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl DeadlineLayer {
    /// Creates a layer that applies the deadline of the context, and sends no header.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Settings {
            header: None,
            timeout: None,
            minimum: MINIMUM,
            reserve: Duration::ZERO,
            is_shared: true,
            policy: Policy::new("deadline", None, ResilienceInstrumentation::global()),
        }))
    }

    fn edit(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }

    /// Sends the time that is left in this header. A valid one that the request has already shortens the deadline.
    #[must_use]
    pub fn with_header(self, header: DeadlineHeader) -> Self {
        self.edit(|settings| (settings.header, settings.is_shared) = (Some(header), true))
    }

    /// Ends each call after this time, if its deadline is not earlier. The code inside sees it as its deadline.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.edit(|settings| settings.timeout = Some(timeout))
    }

    /// Refuses calls that have less time than this. Default, and least: 1 ms. Set it to the time that the backend needs at best.
    #[must_use]
    pub fn with_minimum(self, minimum: Duration) -> Self {
        self.edit(|settings| settings.minimum = minimum.max(MINIMUM))
    }

    /// Takes this time off from the one that is sent, for the way back and for the caller's own work after the call. Default: zero.
    #[must_use]
    pub fn with_reserve(self, reserve: Duration) -> Self {
        self.edit(|settings| settings.reserve = reserve)
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(self, instrumentation: &ResilienceInstrumentation) -> Self {
        self.edit(|settings| settings.policy = settings.policy.with_instrumentation(instrumentation))
    }

    /// Returns the layer inside of a circuit breaker: its time-out is one of the call alone, which saves a context, unless it is
    /// sent.
    pub(crate) fn of_breaker(timeout: Duration) -> Self {
        Self::new().with_timeout(timeout).edit(|settings| settings.is_shared = false)
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Returns the error of a call that cannot make the deadline of its context or of its header.
    #[inline]
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<ResilienceError> {
        let sent = self.0.header.as_ref().and_then(|header| header.read(request.headers()));
        let left = Deadline::current().map(Deadline::remaining).into_iter().chain(sent).min()?;
        self.admit(left).is_none().then_some(ResilienceError::DeadlineRefused)
    }

    /// Returns the limit of a request.
    #[inline]
    fn limit<B>(&self, request: &Request<B>) -> Option<Limit> {
        let Settings { header, timeout, .. } = &*self.0;
        let outer = Deadline::current();
        let sent = header.as_ref().and_then(|header| header.read(request.headers()));
        let own = match (*timeout, sent) {
            (Some(timeout), Some(sent)) => Some(timeout.min(sent)),
            (timeout, sent) => timeout.or(sent),
        };
        match (own.map(|own| (Deadline::after(own), own)), outer) {
            (Some((own, _)), Some(outer)) if outer <= own => Some(Limit::of_context(outer)),
            (Some((deadline, left)), _) => Some(Limit { deadline, left, is_new: true }),
            (None, outer) => outer.map(Limit::of_context),
        }
    }

    /// Returns the time to send if the call can make its deadline.
    #[inline]
    fn admit(&self, left: Duration) -> Option<Duration> {
        let left = left.checked_sub(self.0.reserve)?;
        (left >= self.0.minimum).then_some(left)
    }
}

/// The limit of one call.
struct Limit {
    deadline: Deadline,
    left: Duration,
    /// True if it is not the one of the context.
    is_new: bool,
}

impl Limit {
    #[inline]
    fn of_context(deadline: Deadline) -> Self {
        Self { deadline, left: deadline.remaining(), is_new: false }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner, layer: self.clone() }
    }
}

/// A client whose calls end at their deadline.
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, B, R> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(Limit { deadline, left, is_new }) = self.layer.limit(&request) else {
            return DeadlineFuture::unlimited(self.inner.call(request));
        };
        let Settings { header, policy, is_shared, .. } = &*self.layer.0;
        let Some(left) = self.layer.admit(left) else {
            let error = ResilienceError::DeadlineRefused;
            policy.refuse(&error, None);
            return DeadlineFuture::refused(error);
        };
        if let Some(header) = header {
            header.write(left, request.headers_mut());
        }
        if !is_new || !is_shared {
            return DeadlineFuture::limited(self.inner.call(request), deadline, None);
        }
        let context = deadline.in_context(&Context::current());
        let future = {
            let _attached = context.clone().attach();
            self.inner.call(request)
        };
        DeadlineFuture::limited(future, deadline, Some(context))
    }
}
