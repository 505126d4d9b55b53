//! The same patterns of tower and tower-resilience, with settings like ours. They record nothing.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use tower::retry::Policy;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::timeout::TimeoutLayer;
use tower_layer::Layer as _;
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::ratelimiter::RateLimiterLayer;
use tower_service::Service;

use crate::run::{Backend, Body, HEADER, TIMEOUT};

/// A retry policy: idempotent requests after a 503, within a budget.
#[derive(Clone)]
pub(crate) struct Retries(Arc<TpsBudget>);

impl Policy<Request<Body>, Response<Body>, Infallible> for Retries {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _request: &mut Request<Body>,
        result: &mut Result<Response<Body>, Infallible>,
    ) -> Option<Ready<()>> {
        let is_failure = result.as_ref().is_ok_and(|response| response.status() == 503);
        (is_failure && self.0.withdraw()).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        self.0.deposit();
        request.method().is_idempotent().then(|| request.clone())
    }
}

pub(crate) fn retry() -> tower::retry::Retry<Retries, Backend> {
    tower::retry::Retry::new(Retries(Arc::new(TpsBudget::default())), Backend)
}

/// Clones idempotent requests, once a call is slower than it usually is.
#[derive(Clone)]
pub(crate) struct Hedges;

impl tower::hedge::Policy<Request<Body>> for Hedges {
    fn clone_request(&self, request: &Request<Body>) -> Option<Request<Body>> {
        request.method().is_idempotent().then(|| request.clone())
    }

    fn can_retry(&self, _request: &Request<Body>) -> bool {
        true
    }
}

pub(crate) fn hedge() -> tower::hedge::Hedge<Backend, Hedges> {
    tower::hedge::Hedge::new(Backend, Hedges, 10, 0.95, Duration::from_secs(60))
}

/// tower's time-out, and a header with its time written by hand.
#[derive(Clone)]
pub(crate) struct Sending(tower::timeout::Timeout<Backend>);

impl Service<Request<Body>> for Sending {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = <tower::timeout::Timeout<Backend> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), tower::BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let left = black_box(TIMEOUT).as_millis() as u64;
        request.headers_mut().insert(HEADER, HeaderValue::from(left));
        self.0.call(request)
    }
}

pub(crate) fn sending() -> Sending {
    Sending(timeout())
}

/// A time-out that a header names, parsed by hand.
#[derive(Clone)]
pub(crate) struct Receiving;

impl Service<Request<Body>> for Receiving {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = <tower::timeout::Timeout<Backend> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), tower::BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let left = request.headers().get(HEADER).and_then(|left| left.to_str().ok()?.parse().ok());
        TimeoutLayer::new(left.map_or(TIMEOUT, Duration::from_millis)).layer(Backend).call(request)
    }
}

pub(crate) fn timeout() -> tower::timeout::Timeout<Backend> {
    TimeoutLayer::new(TIMEOUT).layer(Backend)
}

pub(crate) fn breaker() -> tower_resilience::circuitbreaker::CircuitBreaker<
    tower::timeout::Timeout<Backend>,
    tower_resilience::circuitbreaker::DefaultClassifier,
> {
    let builder = CircuitBreakerLayer::builder().name("backend").failure_rate_threshold(0.5);
    let layer = builder.sliding_window_size(100).minimum_number_of_calls(20).build();
    layer.expect("the settings are valid").layer(timeout())
}

pub(crate) fn bulkhead() -> tower_resilience::bulkhead::Bulkhead<Backend> {
    let builder = BulkheadLayer::builder().name("backend").max_concurrent_calls(16);
    builder
        .max_wait_duration(Duration::from_millis(50))
        .build()
        .expect("the settings are valid")
        .layer(Backend)
}

pub(crate) fn rate_limit() -> tower_resilience::ratelimiter::RateLimiter<Backend> {
    let builder = RateLimiterLayer::builder().name("backend").limit_for_period(usize::MAX);
    builder.refresh_period(Duration::from_secs(1)).build().expect("the settings are valid").layer(Backend)
}
