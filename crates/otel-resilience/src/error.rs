//! The errors of calls that a layer refused or ended.
//!
//! Follows [tower's layers](https://docs.rs/tower/latest/tower/timeout/struct.Timeout.html), whose error type is a boxed one.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// The error type of layers that can refuse a call: theirs is a [`ResilienceError`], others are the inner service's own.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A call that a layer refused or ended. It is inside of the [`BoxError`] of the layer's service: see [`find`](Self::find).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResilienceError {
    /// The call was not sent, because too little time was left until its deadline.
    DeadlineRefused,
    /// The call was ended by its time-out, or by its deadline.
    TimedOut,
    /// The call was not sent, because the circuit breaker of this name is open.
    CircuitOpen {
        /// The name of the circuit breaker.
        name: Cow<'static, str>,
    },
    /// The call was not sent, because the bulkhead of this name had no place for it in time.
    BulkheadFull {
        /// The name of the bulkhead.
        name: Cow<'static, str>,
    },
    /// The call was not sent, because the rate limit of this name had no permit for it in time.
    RateLimited {
        /// The name of the rate limit.
        name: Cow<'static, str>,
    },
}

impl ResilienceError {
    /// Returns the first of these errors among an error and its causes, at most 32 of them.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        otel_request::ErrorView::from_error(error).find::<Self>()
    }

    /// Returns the `error.type` of the call's span and metrics.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::DeadlineRefused => "deadline_exceeded",
            Self::TimedOut => "timeout",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::BulkheadFull { .. } => "bulkhead_full",
            Self::RateLimited { .. } => "rate_limited",
        }
    }

    /// Returns the message of a status. It names no policy, because it can leave the process.
    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::DeadlineRefused => "call refused: too little time left until its deadline",
            Self::TimedOut => "call timed out",
            Self::CircuitOpen { .. } => "call refused: circuit breaker is open",
            Self::BulkheadFull { .. } => "call refused: bulkhead is full",
            Self::RateLimited { .. } => "call refused: rate limit is used up",
        }
    }

    /// Returns true if the call was never sent.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::TimedOut)
    }
}

impl fmt::Display for ResilienceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeadlineRefused | Self::TimedOut => f.write_str(self.message()),
            Self::CircuitOpen { name } | Self::BulkheadFull { name } | Self::RateLimited { name } => {
                write!(f, "{}: `{name}`", self.message())
            }
        }
    }
}

impl Error for ResilienceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_among_causes() {
        let error = ResilienceError::CircuitOpen { name: "payments".into() };
        let boxed: BoxError = Box::new(std::io::Error::other(error.clone()));
        assert_eq!(ResilienceError::find(&*boxed), Some(&error));
        assert_eq!(ResilienceError::find(&std::io::Error::other("x")), None);
        assert_eq!(error.to_string(), "call refused: circuit breaker is open: `payments`");
    }

    #[test]
    fn all_but_a_time_out_are_refusals() {
        let name = || Cow::Borrowed("a");
        for (error, error_type) in [
            (ResilienceError::DeadlineRefused, "deadline_exceeded"),
            (ResilienceError::TimedOut, "timeout"),
            (ResilienceError::CircuitOpen { name: name() }, "circuit_open"),
            (ResilienceError::BulkheadFull { name: name() }, "bulkhead_full"),
            (ResilienceError::RateLimited { name: name() }, "rate_limited"),
        ] {
            assert_eq!((error.error_type(), error.is_refusal()), (error_type, error_type != "timeout"));
        }
    }
}
