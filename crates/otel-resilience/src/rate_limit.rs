//! The rate limit: a number of calls in a period, on tower-resilience's.
//!
//! Follows [tower-resilience's rate limiter](https://docs.rs/tower-resilience-ratelimiter).

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_resilience::ratelimiter::{RateLimiter, RateLimiterLayer as Inner, RateLimiterServiceError};
use tower_service::Service;

use crate::error::{BoxError, ResilienceError};
use crate::guarded::GuardedFuture;
use crate::instrumentation::ResilienceInstrumentation;
use crate::policy::Policy;
use crate::waiting::{Admitted, Waiting};

/// A layer that sends a limited number of calls in a period, for a backend that permits no more. All services of a layer and of
/// its clones share the permits.
///
/// ```
/// use std::time::Duration;
/// let layer = otel_resilience::RateLimitLayer::new("geocoder", 50, Duration::from_secs(1));
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    most: usize,
    period: Duration,
    max_wait: Duration,
    policy: Policy,
    shared: Arc<OnceLock<Shared>>,
}

/// tower-resilience's layer, whose services share the permits.
struct Shared(Inner);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl RateLimitLayer {
    /// Creates a layer for `most` calls in each `period`; 0 is taken for 1, and for 1 ms. The name is on spans and metrics: take it
    /// from the program, never from input. Default: a call without a permit is refused at once.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, most: usize, period: Duration) -> Self {
        let policy = Policy::new("rate_limit", Some(name.into()), ResilienceInstrumentation::global());
        let (most, period) = (most.max(1), period.max(Duration::from_millis(1)));
        Self { most, period, max_wait: Duration::ZERO, policy, shared: Arc::default() }
    }

    /// Lets a call wait for a permit, at most this time. The layer then shares no permits with those that it was made from.
    #[must_use]
    pub fn with_max_wait(self, max_wait: Duration) -> Self {
        Self { max_wait, shared: Arc::default(), ..self }
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(self, instrumentation: &ResilienceInstrumentation) -> Self {
        Self { policy: self.policy.with_instrumentation(instrumentation), ..self }
    }

    #[expect(clippy::expect_used, reason = "zero calls or a period of zero are its only errors")]
    fn build(&self) -> Shared {
        // Without a name, because it clones that for each event.
        let builder = Inner::builder().name("").limit_for_period(self.most).refresh_period(self.period);
        let (layer, _) =
            builder.timeout_duration(self.max_wait).build_with_handle().expect("the limit permits a call");
        Shared(layer)
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let shared = self.shared.get_or_init(|| self.build());
        let policy = self.policy.clone();
        RateLimitService { inner: shared.0.layer(Admitted { inner, policy: policy.clone() }), policy }
    }
}

/// A service with a limit on the calls in a period.
#[derive(Clone)]
pub struct RateLimitService<S> {
    inner: RateLimiter<Admitted<S>>,
    policy: Policy,
}

impl<S, Q> Service<Q> for RateLimitService<S>
where
    S: Service<Q> + Clone + Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    Q: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = GuardedFuture<S::Response>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        <RateLimiter<_> as Service<Waiting<Q>>>::poll_ready(&mut self.inner, cx).map_err(
            |error| match error {
                RateLimiterServiceError::Inner(error) => error,
                _ => ResilienceError::RateLimited { name: self.policy.name() }.into(),
            },
        )
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let waiting = Waiting::new(request);
        let since = waiting.since;
        GuardedFuture::rate_limit(self.inner.call(waiting), self.policy.clone(), since)
    }
}

impl<S> std::fmt::Debug for RateLimitService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitService").field("policy", &self.policy).finish_non_exhaustive()
    }
}
