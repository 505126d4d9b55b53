//! Hedging: a second attempt for a call that is slow, and the first good response of the two.
//!
//! Follows [The Tail at Scale](https://research.google/pubs/the-tail-at-scale/), "Hedged requests", and
//! [tower's hedge](https://docs.rs/tower/latest/tower/hedge/index.html), which clones requests by a policy as well.

mod future;

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{Request, Response};
use opentelemetry::Context;
use otel_request::RequestHead;
use tower_layer::Layer;
use tower_service::Service;

pub use self::future::HedgeFuture;
use self::future::Spare;
use crate::clone_request::{CloneBody, CloneRequest, RequestRule};
use crate::instrumentation::ResilienceInstrumentation;
use crate::policy::Policy;
use crate::retry::RetryBudget;

/// A layer that sends a call a second time if it has no response after a delay. The first good response is taken; the other attempt
/// is dropped. A client layer inside records each attempt as a span; the one that lost is no error and has the attribute
/// `resilience.hedge.lost`.
///
/// Only idempotent requests are hedged, and only within a budget: a backend that is slow for all callers would otherwise get twice
/// the load. An attempt that fails before the delay is over is returned; retries are for those.
///
/// ```
/// use std::time::Duration;
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyClient;
/// let client = otel_http::ClientLayer::new().layer(MyClient);
/// // The delay is best the 95th percentile of the call's duration.
/// let client = otel_resilience::HedgeLayer::new("search", Duration::from_millis(80)).layer(client);
/// ```
#[derive(Debug)]
pub struct HedgeLayer<C = CloneBody> {
    delay: Duration,
    budget: RetryBudget,
    requests: RequestRule,
    policy: Policy,
    clone: Arc<C>,
}

impl HedgeLayer {
    /// Creates a layer. The name is on events and metrics: take it from the program, never from input. Default: a budget of 10 % of
    /// the calls and one a second.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, delay: Duration) -> Self {
        Self {
            delay,
            budget: RetryBudget::new(0.1, 1),
            requests: RequestRule::default(),
            policy: Policy::new("hedge", Some(name.into()), ResilienceInstrumentation::global()),
            clone: Arc::new(CloneBody),
        }
    }
}

impl<C> HedgeLayer<C> {
    /// Sets the way in which a request is cloned before it is sent. Default: [`CloneBody`].
    #[must_use]
    pub fn with_clone_request<D>(self, clone: D) -> HedgeLayer<D> {
        let Self { delay, budget, requests, policy, .. } = self;
        HedgeLayer { delay, budget, requests, policy, clone: Arc::new(clone) }
    }

    /// Hedges requests for which `may_repeat` returns true, in place of those with an idempotent method.
    #[must_use]
    pub fn with_requests<F>(self, may_repeat: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self { requests: RequestRule::new(may_repeat), ..self }
    }

    /// Sets the budget, which can be shared with that of retries.
    #[must_use]
    pub fn with_budget(self, budget: RetryBudget) -> Self {
        Self { budget, ..self }
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(self, instrumentation: &ResilienceInstrumentation) -> Self {
        Self { policy: self.policy.with_instrumentation(instrumentation), ..self }
    }
}

// Not derived: a derive would demand `C: Clone`.
impl<C> Clone for HedgeLayer<C> {
    fn clone(&self) -> Self {
        Self {
            delay: self.delay,
            budget: self.budget.clone(),
            requests: self.requests.clone(),
            policy: self.policy.clone(),
            clone: Arc::clone(&self.clone),
        }
    }
}

impl<S, C> Layer<S> for HedgeLayer<C> {
    type Service = HedgeService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgeService { inner, layer: Arc::new(self.clone()) }
    }
}

/// A service whose slow calls are sent twice.
#[derive(Debug)]
pub struct HedgeService<S, C = CloneBody> {
    inner: S,
    layer: Arc<HedgeLayer<C>>,
}

impl<S: Clone, C> Clone for HedgeService<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S, C, B, R> Service<Request<B>> for HedgeService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: CloneRequest<B>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = HedgeFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let HedgeLayer { delay, budget, requests, policy, clone } = &*self.layer;
        budget.deposit();
        let copy = if requests.repeats(&request) { clone.clone_request(&request) } else { None };
        let Some(request_copy) = copy else {
            return HedgeFuture::new(self.inner.call(request), None, *delay);
        };
        let spare = Spare {
            service: self.inner.clone(),
            request: request_copy,
            context: Context::current(),
            budget: budget.clone(),
            policy: policy.clone(),
        };
        HedgeFuture::new(self.inner.call(request), Some(spare), *delay)
    }
}
