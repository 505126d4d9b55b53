//! The future of a call behind a circuit breaker, a bulkhead or a rate limit, and the error in place of a refused call.
//!
//! Follows [tower-resilience](https://docs.rs/tower-resilience), whose futures are boxed and whose error types stay inside.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use opentelemetry::Context;
use tokio::time::Instant;
use tower_resilience::bulkhead::BulkheadServiceError;
use tower_resilience::circuitbreaker::CircuitBreakerError;
use tower_resilience::ratelimiter::RateLimiterServiceError;

use crate::error::{BoxError, ResilienceError};
use crate::policy::Policy;

type Boxed<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The future of a call that a circuit breaker, a bulkhead or a rate limit guards.
pub struct GuardedFuture<T> {
    inner: Inner<T>,
    policy: Policy,
    /// The context of the call: it is sent, or refused, where it is polled, which need not be in its context.
    context: Context,
    /// The start of the wait, for policies that have one.
    since: Option<Instant>,
}

enum Inner<T> {
    Breaker(Boxed<T, CircuitBreakerError<BoxError>>),
    Bulkhead(Boxed<T, BulkheadServiceError<BoxError>>),
    RateLimit(Boxed<T, RateLimiterServiceError<BoxError>>),
    /// Refused before the call.
    Refused(ResilienceError),
}

impl<T> GuardedFuture<T> {
    pub(crate) fn breaker(inner: Boxed<T, CircuitBreakerError<BoxError>>, policy: Policy) -> Self {
        Self::new(Inner::Breaker(inner), policy, None)
    }

    pub(crate) fn bulkhead(
        inner: Boxed<T, BulkheadServiceError<BoxError>>,
        policy: Policy,
        since: Instant,
    ) -> Self {
        Self::new(Inner::Bulkhead(inner), policy, Some(since))
    }

    pub(crate) fn rate_limit(
        inner: Boxed<T, RateLimiterServiceError<BoxError>>,
        policy: Policy,
        since: Instant,
    ) -> Self {
        Self::new(Inner::RateLimit(inner), policy, Some(since))
    }

    /// A call that is refused; the refusal is recorded when the future is polled.
    pub(crate) fn refused(error: ResilienceError, policy: Policy) -> Self {
        Self::new(Inner::Refused(error), policy, None)
    }

    fn new(inner: Inner<T>, policy: Policy, since: Option<Instant>) -> Self {
        Self { inner, policy, context: Context::current(), since }
    }
}

impl<T> Future for GuardedFuture<T> {
    type Output = Result<T, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let name = |policy: &Policy| policy.name();
        let this = &mut *self;
        let _attached = this.context.clone().attach();
        let refusal = match &mut this.inner {
            Inner::Breaker(inner) => match ready!(inner.as_mut().poll(cx)) {
                Ok(output) => return Poll::Ready(Ok(output)),
                Err(CircuitBreakerError::Inner(error)) => return Poll::Ready(Err(error)),
                Err(_) => ResilienceError::CircuitOpen { name: name(&this.policy) },
            },
            Inner::Bulkhead(inner) => match ready!(inner.as_mut().poll(cx)) {
                Ok(output) => return Poll::Ready(Ok(output)),
                Err(BulkheadServiceError::Inner(error)) => return Poll::Ready(Err(error)),
                Err(_) => ResilienceError::BulkheadFull { name: name(&this.policy) },
            },
            Inner::RateLimit(inner) => match ready!(inner.as_mut().poll(cx)) {
                Ok(output) => return Poll::Ready(Ok(output)),
                Err(RateLimiterServiceError::Inner(error)) => return Poll::Ready(Err(error)),
                Err(_) => ResilienceError::RateLimited { name: name(&this.policy) },
            },
            Inner::Refused(error) => error.clone(),
        };
        this.policy.refuse(&refusal, this.since.map(|since| since.elapsed()));
        Poll::Ready(Err(refusal.into()))
    }
}

impl<T> fmt::Debug for GuardedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedFuture").field("policy", &self.policy).finish_non_exhaustive()
    }
}
