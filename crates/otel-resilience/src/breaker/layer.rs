//! The layer of the circuit breaker and its service. A time-out is inside of it.
//!
//! Follows [tower-resilience's circuit breaker](https://docs.rs/tower-resilience-circuitbreaker).

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{Request, Response};
use otel_request::ResponseHead;
use tower_layer::Layer;
use tower_resilience::circuitbreaker::{CircuitBreaker, CircuitBreakerError};
use tower_service::Service;

use super::circuit::{Circuit, Failures, Settings};
use super::{CircuitState, circuit};
use crate::deadline::{DeadlineHeader, DeadlineLayer, DeadlineService};
use crate::error::BoxError;
use crate::guarded::GuardedFuture;
use crate::instrumentation::ResilienceInstrumentation;
use crate::policy::Policy;

/// A layer that refuses calls to a backend which fails, so that neither its callers nor the backend pay for them. All services of
/// a layer and of its clones share the state.
///
/// It opens when a share of the last calls failed: by an error, by a server error, or by the time-out, which is inside of the
/// breaker so that calls which hang count. After some time in which all calls are refused it is half-open: few calls are sent, and
/// the first failure opens it again, as many successes close it. A dropped call counts neither way.
///
/// Default: half of the last 100 calls, at least 20; 5 s open; 3 calls when half-open.
///
/// ```
/// use std::time::Duration;
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyClient;
/// let client = otel_http::ClientLayer::new().layer(MyClient);
/// let breaker = otel_resilience::CircuitBreakerLayer::new("payments", Duration::from_secs(2));
/// let client = breaker.with_open_time(Duration::from_secs(10)).layer(client);
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer {
    settings: Settings,
    deadline: DeadlineLayer,
    policy: Policy,
    circuit: Arc<OnceLock<Circuit>>,
}

impl CircuitBreakerLayer {
    /// Creates a layer. Each call has to respond within `timeout`, and within its deadline. The name is on spans and metrics: take
    /// it from the program, never from input.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, timeout: Duration) -> Self {
        Self {
            settings: Settings::default(),
            deadline: DeadlineLayer::of_breaker(timeout),
            policy: Policy::new("circuit_breaker", Some(name.into()), ResilienceInstrumentation::global()),
            circuit: Arc::default(),
        }
    }

    /// The layer then has a state of its own.
    fn edit(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(&mut self.settings);
        self.circuit = Arc::default();
        self
    }

    /// Sets the share of failures at which the breaker opens, between 0 and 1; out of it, or NaN, is taken for the nearest, 1.
    #[must_use]
    pub fn with_failure_rate(self, rate: f64) -> Self {
        let rate = if rate.is_nan() { 1.0 } else { rate.clamp(0.001, 1.0) };
        self.edit(|settings| settings.failure_rate = rate)
    }

    /// Sets the number of last calls that count, at most 1,000,000, and the least number of calls before the breaker opens.
    #[must_use]
    pub fn with_window(self, calls: usize, minimum: usize) -> Self {
        let calls = calls.clamp(1, 1_000_000);
        self.edit(|settings| (settings.window, settings.minimum) = (calls, minimum.clamp(1, calls)))
    }

    /// Sets the time in which an open breaker refuses all calls.
    #[must_use]
    pub fn with_open_time(self, time: Duration) -> Self {
        self.edit(|settings| settings.open_time = time)
    }

    /// Sets the number of calls that a half-open breaker sends at once, and of successes that close it. 0 is taken for 1.
    #[must_use]
    pub fn with_half_open_calls(self, calls: usize) -> Self {
        self.edit(|settings| settings.half_open_calls = calls.clamp(1, 1_000_000))
    }

    /// Counts responses for which `is_failure` returns true as failures, in place of 5xx and of gRPC's statuses UNKNOWN,
    /// `DEADLINE_EXCEEDED`, INTERNAL, UNAVAILABLE and `DATA_LOSS`. Errors always are failures.
    #[must_use]
    pub fn with_failures<F>(self, is_failure: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.edit(|settings| settings.failures = Failures::new(is_failure))
    }

    /// Sends the time that is left in this header; see [`DeadlineLayer::with_header`].
    #[must_use]
    pub fn with_header(mut self, header: DeadlineHeader) -> Self {
        self.deadline = self.deadline.with_header(header);
        self
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(mut self, instrumentation: &ResilienceInstrumentation) -> Self {
        self.policy = self.policy.with_instrumentation(instrumentation);
        self.deadline = self.deadline.with_instrumentation(instrumentation);
        self.edit(|_| {})
    }

    /// Returns the state of the circuit.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.circuit.get().map_or(CircuitState::Closed, Circuit::state)
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreakerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let circuit = self.circuit.get_or_init(|| Circuit::new(&self.settings, &self.policy));
        CircuitBreakerService {
            inner: circuit.layer.layer(self.deadline.layer(inner)),
            deadline: self.deadline.clone(),
            policy: self.policy.clone(),
        }
    }
}

/// A service whose calls are refused while its backend fails.
#[derive(Clone)]
pub struct CircuitBreakerService<S> {
    inner: CircuitBreaker<DeadlineService<S>, circuit::Classifier>,
    deadline: DeadlineLayer,
    policy: Policy,
}

impl<S, B, R> Service<Request<B>> for CircuitBreakerService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = GuardedFuture<Response<R>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        <CircuitBreaker<_, _> as Service<Request<B>>>::poll_ready(&mut self.inner, cx).map_err(|error| {
            match error {
                CircuitBreakerError::Inner(error) => error,
                error => error.to_string().into(),
            }
        })
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A call that cannot make its deadline says nothing about the backend: the circuit does not see it.
        match self.deadline.refusal(&request) {
            Some(error) => {
                // A clone has to be polled ready again: the circuit could refuse the next call by the state that it had for this one.
                self.inner = self.inner.clone();
                GuardedFuture::refused(error, self.deadline.policy().clone())
            }
            None => GuardedFuture::breaker(self.inner.call(request), self.policy.clone()),
        }
    }
}

impl<S> fmt::Debug for CircuitBreakerService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerService").field("policy", &self.policy).finish_non_exhaustive()
    }
}
