//! The circuit: tower-resilience's state machine, with our window as its classifier and our record as its listener.
//!
//! Follows [tower-resilience's circuit breaker](https://docs.rs/tower-resilience-circuitbreaker): a listener runs in the context
//! of the call that changed the state.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Response;
use opentelemetry::KeyValue;
use otel_operation::catch_panic;
use otel_request::ResponseHead;
use tower_resilience::circuitbreaker::{
    CircuitBreakerLayer, CircuitState as InnerState, FailureClassifier, FailureModel,
};

use super::CircuitState;
use super::window::Window;
use crate::attributes::{BREAKER_PREVIOUS_STATE, BREAKER_STATE, BREAKER_TRANSITION};
use crate::grpc;
use crate::policy::Policy;

/// The settings of a circuit, within their bounds.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) failure_rate: f64,
    pub(super) window: usize,
    pub(super) minimum: usize,
    pub(super) open_time: Duration,
    pub(super) half_open_calls: usize,
    pub(super) failures: Failures,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failure_rate: 0.5,
            window: 100,
            minimum: 20,
            open_time: Duration::from_secs(5),
            half_open_calls: 3,
            failures: Failures(None),
        }
    }
}

type Rule = Arc<dyn Fn(&ResponseHead<'_>) -> bool + Send + Sync>;

/// The responses that are failures.
#[derive(Clone)]
pub(super) struct Failures(Option<Rule>);

impl Failures {
    pub(super) fn new(rule: impl Fn(&ResponseHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(rule)))
    }

    /// A rule of the application that panics says nothing about the backend.
    #[inline]
    fn contain<B>(&self, response: &Response<B>) -> bool {
        match &self.0 {
            None => {
                response.status().is_server_error()
                    || grpc::code_from_headers(response.headers()).is_some_and(grpc::is_server_error)
            }
            Some(rule) => catch_panic(|| rule(&ResponseHead::new(response))).unwrap_or(false),
        }
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failures").field(&self.0.is_some()).finish()
    }
}

/// A circuit, which all services of a layer share.
pub(super) struct Circuit {
    pub(super) layer: CircuitBreakerLayer<Classifier>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    window: Mutex<Window>,
}

impl Circuit {
    #[expect(clippy::expect_used, reason = "all settings are within their bounds")]
    pub(super) fn new(settings: &Settings, policy: &Policy) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(CircuitState::Closed as u8),
            window: Mutex::new(Window::new(settings.window)),
        });
        let classifier = Classifier { settings: settings.clone(), shared: Arc::clone(&shared) };
        let (listener, policy) = (Arc::clone(&shared), policy.clone());
        let (layer, _) = CircuitBreakerLayer::builder()
            // Without a name, because it clones that for each event.
            .name("")
            // Its classifier reports a failure when the window has failed, which opens the circuit.
            .failure_model(FailureModel::ConsecutiveFailures { k: 1 })
            .wait_duration_in_open(settings.open_time)
            .permitted_calls_in_half_open(settings.half_open_calls)
            .on_state_transition(move |from, to| {
                let (from, to) = (CircuitState::from_inner(from), CircuitState::from_inner(to));
                listener.enter(to);
                record(&policy, from, to);
            })
            .failure_classifier_type(classifier)
            .build_with_handle()
            .expect("the settings of the circuit are within their bounds");
        Self { layer, shared }
    }

    pub(super) fn state(&self) -> CircuitState {
        self.shared.state()
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Circuit").field(&self.shared).finish()
    }
}

impl Shared {
    fn state(&self) -> CircuitState {
        match self.state.load(Ordering::Relaxed) {
            0 => CircuitState::Closed,
            1 => CircuitState::Open,
            _ => CircuitState::HalfOpen,
        }
    }

    fn enter(&self, state: CircuitState) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.window.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl CircuitState {
    fn from_inner(state: InnerState) -> Self {
        match state {
            InnerState::Closed => Self::Closed,
            InnerState::Open => Self::Open,
            InnerState::HalfOpen => Self::HalfOpen,
        }
    }
}

/// Records a change of the state, in the context of the call that caused it.
#[cold]
fn record(policy: &Policy, from: CircuitState, to: CircuitState) {
    let state = KeyValue::new(BREAKER_STATE, to.as_str());
    policy
        .add_event(BREAKER_TRANSITION, [state.clone(), KeyValue::new(BREAKER_PREVIOUS_STATE, from.as_str())]);
    if let Some(instruments) = policy.instrumentation().instruments() {
        let attributes: Vec<_> = policy.name_attribute().chain([state]).collect();
        instruments.transitions.add(1, &attributes);
    }
}

/// Decides about a result. It runs inside of the circuit's lock.
#[derive(Debug)]
pub(super) struct Classifier {
    settings: Settings,
    shared: Arc<Shared>,
}

impl<B, E> FailureClassifier<Response<B>, E> for Classifier {
    fn classify(&self, result: &Result<Response<B>, E>) -> bool {
        let Settings { failure_rate, minimum, failures, .. } = &self.settings;
        let is_failure = result.as_ref().map_or(true, |response| failures.contain(response));
        if self.shared.state() == CircuitState::HalfOpen {
            return is_failure;
        }
        let mut window = self.shared.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.add(is_failure);
        is_failure && window.has_failed(*failure_rate, *minimum)
    }
}
