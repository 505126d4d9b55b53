//! The bulkhead: a limit on the calls that run at once, on tower-resilience's.
//!
//! Follows [tower-resilience's bulkhead](https://docs.rs/tower-resilience-bulkhead).

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_resilience::bulkhead::{Bulkhead, BulkheadLayer as Inner, BulkheadServiceError};
use tower_service::Service;

use crate::error::BoxError;
use crate::guarded::GuardedFuture;
use crate::instrumentation::ResilienceInstrumentation;
use crate::policy::Policy;
use crate::waiting::{Admitted, Waiting};

/// A layer that lets a limited number of calls run at once, so that one slow backend does not take all tasks and connections.
/// All services of a layer and of its clones share the places.
///
/// ```
/// use std::time::Duration;
/// let layer = otel_resilience::BulkheadLayer::new("search", 16).with_max_wait(Duration::from_millis(50));
/// ```
#[derive(Clone, Debug)]
pub struct BulkheadLayer {
    most: usize,
    max_wait: Duration,
    policy: Policy,
    shared: Arc<OnceLock<Shared>>,
}

/// tower-resilience's layer, whose services share the places.
struct Shared(Inner);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl BulkheadLayer {
    /// Creates a layer for `most` calls at once; 0 is taken for 1. The name is on spans and metrics: take it from the program,
    /// never from input. Default: a call without a place is refused at once.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, most: usize) -> Self {
        let policy = Policy::new("bulkhead", Some(name.into()), ResilienceInstrumentation::global());
        // tokio's semaphore panics beyond its maximum.
        let most = most.clamp(1, usize::MAX >> 4);
        Self { most, max_wait: Duration::ZERO, policy, shared: Arc::default() }
    }

    /// Lets a call wait for a place, at most this time. The layer then shares no places with those that it was made from.
    #[must_use]
    pub fn with_max_wait(self, max_wait: Duration) -> Self {
        Self { max_wait, shared: Arc::default(), ..self }
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(self, instrumentation: &ResilienceInstrumentation) -> Self {
        Self { policy: self.policy.with_instrumentation(instrumentation), ..self }
    }

    #[expect(clippy::expect_used, reason = "0 calls at once is its only error")]
    fn build(&self) -> Shared {
        // Without a name, because it clones that for each event.
        let builder =
            Inner::builder().name("").max_concurrent_calls(self.most).max_wait_duration(self.max_wait);
        let (layer, _) = builder.build_with_handle().expect("the bulkhead has a place");
        Shared(layer)
    }
}

impl<S> Layer<S> for BulkheadLayer {
    type Service = BulkheadService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let shared = self.shared.get_or_init(|| self.build());
        let policy = self.policy.clone();
        BulkheadService { inner: shared.0.layer(Admitted { inner, policy: policy.clone() }), policy }
    }
}

/// A service with a limit on the calls that run at once.
#[derive(Clone)]
pub struct BulkheadService<S> {
    inner: Bulkhead<Admitted<S>>,
    policy: Policy,
}

impl<S, Q> Service<Q> for BulkheadService<S>
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
        <Bulkhead<_> as Service<Waiting<Q>>>::poll_ready(&mut self.inner, cx).map_err(|error| match error {
            BulkheadServiceError::Inner(error) => error,
            BulkheadServiceError::Bulkhead(error) => error.into(),
        })
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let waiting = Waiting::new(request);
        let since = waiting.since;
        GuardedFuture::bulkhead(self.inner.call(waiting), self.policy.clone(), since)
    }
}

impl<S> std::fmt::Debug for BulkheadService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkheadService").field("policy", &self.policy).finish_non_exhaustive()
    }
}
