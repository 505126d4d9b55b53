//! The circuit breaker, on the state machine of tower-resilience.
//!
//! Follows [tower-resilience's circuit breaker](https://docs.rs/tower-resilience-circuitbreaker).

mod circuit;
mod layer;
mod window;

pub use self::layer::{CircuitBreakerLayer, CircuitBreakerService};

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls are sent.
    Closed = 0,
    /// Calls are refused.
    Open = 1,
    /// Few calls are sent, whose results decide about the next state.
    HalfOpen = 2,
}

impl CircuitState {
    /// Returns the value of the attribute: `closed`, `open` or `half_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}
