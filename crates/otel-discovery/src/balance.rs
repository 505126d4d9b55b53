//! The selecting service: a clone a caller, one choice a call, which is recorded.
//!
//! Follows [tower's `Balance`](https://docs.rs/tower/latest/tower/balance/p2c/struct.Balance.html), which is no `Clone`, and knows one
//! strategy.

mod core;
mod future;
mod members;

use std::fmt;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tower_service::Service;

pub use crate::balance::future::BalanceFuture;

use crate::balance::core::Core;
use crate::changes::Changes;
use crate::ejection::{Ejection, ErrorsOnly, IsFailure};
use crate::endpoint::Endpoint;
use crate::endpoints::{AbortOnDrop, Endpoints};
use crate::error::BoxError;
use crate::strategy::Strategy;

/// The options of a [`Balance`].
#[derive(Clone, Debug)]
pub struct BalanceOptions<F = ErrorsOnly> {
    strategy: Strategy,
    ejection: Option<Ejection>,
    failures: F,
    max_attempts: u32,
    max_wait: Duration,
}

impl Default for BalanceOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            ejection: Some(Ejection::default()),
            failures: ErrorsOnly,
            max_attempts: 3,
            max_wait: Duration::from_secs(5),
        }
    }
}

impl BalanceOptions {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<F> BalanceOptions<F> {
    /// Sets the strategy. Default: round-robin.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets the rule by which endpoints that fail are ejected; `None` ejects none.
    #[must_use]
    pub fn with_ejection(mut self, rule: impl Into<Option<Ejection>>) -> Self {
        self.ejection = rule.into();
        self
    }

    /// Sets the rule by which a result is a failure: [`Unavailable`](crate::Unavailable), a closure. Default: errors.
    #[must_use]
    pub fn with_failures<G>(self, failures: G) -> BalanceOptions<G> {
        let Self { strategy, ejection, max_attempts, max_wait, .. } = self;
        BalanceOptions { strategy, ejection, failures, max_attempts, max_wait }
    }

    /// Sets the number of endpoints that a call is offered to until one is ready, at least 1. A call that an endpoint has
    /// received is not repeated. Default: 3.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Sets the time that calls wait for the first answer of the registry. Default: 5 s.
    #[must_use]
    pub fn with_max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// Creates the service. `connect` makes the service of an endpoint, once for each, and must not block.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    pub fn connect<S, C>(self, endpoints: &Endpoints, mut connect: C) -> Balance<S, F>
    where
        C: FnMut(&Endpoint) -> S + Send + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let core = Arc::new(Core::new(Arc::clone(endpoints.shared()), self.strategy, self.ejection));
        let mut changes = Changes::new(endpoints);
        // Endpoints that are known already serve the first call.
        core.apply(changes.take(), &mut connect);
        let applied = Arc::clone(&core);
        let task = tokio::spawn(async move {
            while let Some(changes) = changes.next().await {
                applied.apply(changes, &mut connect);
            }
        });
        let tasks = Tasks { _apply: AbortOnDrop(task.abort_handle()), _watch: Arc::clone(endpoints.task()) };
        Balance {
            core,
            failures: self.failures,
            limits: (self.max_attempts, self.max_wait),
            _tasks: Arc::new(tasks),
        }
    }
}

/// A service that chooses an endpoint for each call. Clones share all state.
///
/// It is always ready; the endpoint that is chosen is awaited in the future of the call. The choice is on the span that is current
/// when it is called: a client layer belongs around it.
#[derive(Clone)]
pub struct Balance<S, F = ErrorsOnly> {
    core: Arc<Core<S>>,
    failures: F,
    /// Of attempts and of the wait for the first answer.
    limits: (u32, Duration),
    _tasks: Arc<Tasks>,
}

struct Tasks {
    _apply: AbortOnDrop,
    _watch: Arc<AbortOnDrop>,
}

impl<S, Q, F> Service<Q> for Balance<S, F>
where
    S: Service<Q> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    F: IsFailure<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BalanceFuture<S, Q, F>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> Self::Future {
        BalanceFuture::new(Arc::clone(&self.core), self.failures.clone(), request, self.limits)
    }
}

impl<S, F> fmt::Debug for Balance<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance").field("service", &self.core.shared.service).finish_non_exhaustive()
    }
}
