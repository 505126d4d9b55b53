//! The outcome of a database operation: an outcome of otel-operation, with the status code of the response.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/):
//! `error.type` is the status code where there is one.

use std::borrow::Cow;

use otel_operation::{Outcome, intern};

/// The longest status code, in bytes. Those of the known systems have ten at most.
const LONGEST: usize = 32;

/// The outcome of a database operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseOutcome {
    pub(crate) outcome: Outcome,
    pub(crate) status_code: Option<Cow<'static, str>>,
}

impl DatabaseOutcome {
    /// Creates a success.
    #[must_use]
    pub const fn ok() -> Self {
        Self { outcome: Outcome::ok(), status_code: None }
    }

    /// Creates a failure without a status code. `error_type` must have a low cardinality, because it is a metric attribute.
    #[must_use]
    pub fn error(error_type: impl Into<Cow<'static, str>>) -> Self {
        Outcome::error(error_type).into()
    }

    /// Creates a failure that the database reported with this code: an SQLSTATE, the prefix of a Redis error. The code is
    /// `db.response.status_code` and `error.type`. Text that is no code (over 32 bytes, or with other characters than letters,
    /// digits, `_`, `-` and `.`) is `_OTHER`.
    #[must_use]
    pub fn from_status_code(code: &str) -> Self {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if code.is_empty() || code.len() > LONGEST || !code.bytes().all(is_part) {
            return Self::error("_OTHER");
        }
        let code = intern(code);
        Self { outcome: Outcome::error(code.clone()), status_code: Some(code) }
    }

    /// Sets the description of the span status. It must hold nothing that the user of the database wrote: error messages of
    /// databases quote values.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.outcome = self.outcome.with_description(description);
        self
    }

    /// Returns the `error.type`, or `None` for a success.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        self.outcome.error_type().map(AsRef::as_ref)
    }

    /// Returns the status code of the response, if it is known.
    #[must_use]
    pub fn status_code(&self) -> Option<&str> {
        self.status_code.as_deref()
    }
}

impl From<Outcome> for DatabaseOutcome {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, status_code: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_class_of_the_error() {
        let violated = DatabaseOutcome::from_status_code("23505");
        assert_eq!((violated.error_type(), violated.status_code()), (Some("23505"), Some("23505")));
        for text in ["", "not a code", "x'y", &"9".repeat(33), "ß"] {
            let other = DatabaseOutcome::from_status_code(text);
            assert_eq!((other.error_type(), other.status_code()), (Some("_OTHER"), None), "{text}");
        }
        assert_eq!(DatabaseOutcome::from(Outcome::ok()), DatabaseOutcome::ok());
    }
}
