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
        self.edit(|settings| settings.header = Some(header))
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

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Returns the error of a request that cannot make its deadline.
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<ResilienceError> {
        let (deadline, _) = self.deadline(request)?;
        self.admit(deadline).is_none().then_some(ResilienceError::DeadlineRefused)
    }

    /// Returns the deadline of a request, and true if it is not the one of the context.
    fn deadline<B>(&self, request: &Request<B>) -> Option<(Deadline, bool)> {
        let Settings { header, timeout, .. } = &*self.0;
        let sent = header.as_ref().and_then(|header| header.read(request.headers()));
        let own = timeout.iter().copied().chain(sent).min().map(Deadline::after);
        let outer = Deadline::current();
        let deadline = own.into_iter().chain(outer).min()?;
        Some((deadline, outer != Some(deadline)))
    }

    /// Returns the time to send if the call can make its deadline.
    fn admit(&self, deadline: Deadline) -> Option<Duration> {
        let left = deadline.remaining().checked_sub(self.0.reserve)?;
        (left >= self.0.minimum).then_some(left)
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
        let Some((deadline, is_new)) = self.layer.deadline(&request) else {
            return DeadlineFuture::unlimited(self.inner.call(request));
        };
        let Settings { header, policy, .. } = &*self.layer.0;
        let Some(left) = self.layer.admit(deadline) else {
            let error = ResilienceError::DeadlineRefused;
            policy.refuse(&error, None);
            return DeadlineFuture::refused(error);
        };
        if let Some(header) = header {
            header.write(left, request.headers_mut());
        }
        if !is_new {
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
