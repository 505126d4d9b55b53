//! The outcome of an operation, from which the span status and `error.type` of its span and metrics derive.
//!
//! Follows the [general conventions for recording
//! errors](https://opentelemetry.io/docs/specs/semconv/general/recording-errors/): a failure sets `error.type` and
//! the span status, with a description only where it adds to `error.type`.

use std::borrow::Cow;

use opentelemetry::trace::Status;

/// The attribute that names the class of a failure, on spans and on metrics.
pub const ERROR_TYPE: &str = "error.type";

/// The outcome of an operation.
///
/// A success leaves the span status unset. A failure has an `error.type` from a small set that the transport defines,
/// and optionally a description, which appears in the span status and never in metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    error_type: Option<Cow<'static, str>>,
    description: Cow<'static, str>,
}

impl Outcome {
    /// Creates a success.
    #[must_use]
    pub const fn ok() -> Self {
        Self { error_type: None, description: Cow::Borrowed("") }
    }

    /// Creates a failure. `error_type` must have a low cardinality, because it is a metric attribute.
    #[must_use]
    pub fn error(error_type: impl Into<Cow<'static, str>>) -> Self {
        Self { error_type: Some(error_type.into()), description: Cow::Borrowed("") }
    }

    /// Creates the failure of an operation that its caller dropped: `error.type` is `cancelled`.
    #[must_use]
    pub const fn cancelled() -> Self {
        Self { error_type: Some(Cow::Borrowed("cancelled")), description: Cow::Borrowed("") }
    }

    /// Creates the failure of an operation whose user code panicked: `error.type` is `panic`.
    #[must_use]
    pub const fn panicked() -> Self {
        Self { error_type: Some(Cow::Borrowed("panic")), description: Cow::Borrowed("") }
    }

    /// Sets the description of the span status. A success ignores it.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = description.into();
        self
    }

    /// Returns the `error.type`, or `None` for a success.
    #[must_use]
    pub fn error_type(&self) -> Option<&Cow<'static, str>> {
        self.error_type.as_ref()
    }

    /// Returns the span status of this outcome.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.error_type {
            None => Status::Unset,
            Some(_) => Status::Error { description: self.description.clone() },
        }
    }
}
