//! How an operation ended: what its span's status, its `error.type` and its metrics agree on.
//!
//! Follows the [general conventions for recording
//! errors](https://opentelemetry.io/docs/specs/semconv/general/recording-errors/): `error.type` and the span status
//! carry a failure, and a description only where the code does not say it all.

use std::borrow::Cow;

use opentelemetry::trace::Status;

/// The attribute that names the class of a failure, on spans and on metrics.
pub const ERROR_TYPE: &str = "error.type";

/// How an operation ended.
///
/// An outcome is either a success, which leaves the span's status unset, or a failure with an `error.type`
/// out of a small set that its transport chooses. A failure may carry a description for the span; a metric
/// never sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    error_type: Option<Cow<'static, str>>,
    description: Cow<'static, str>,
}

impl Outcome {
    /// The operation ended, and nothing about it was a failure.
    #[must_use]
    pub const fn ok() -> Self {
        Self { error_type: None, description: Cow::Borrowed("") }
    }

    /// The operation failed, with an `error.type` of low cardinality.
    #[must_use]
    pub fn error(error_type: impl Into<Cow<'static, str>>) -> Self {
        Self { error_type: Some(error_type.into()), description: Cow::Borrowed("") }
    }

    /// Whoever waited for the operation went away: `error.type` is `cancelled`.
    #[must_use]
    pub const fn cancelled() -> Self {
        Self { error_type: Some(Cow::Borrowed("cancelled")), description: Cow::Borrowed("") }
    }

    /// User code panicked inside the operation: `error.type` is `panic`.
    #[must_use]
    pub const fn panicked() -> Self {
        Self { error_type: Some(Cow::Borrowed("panic")), description: Cow::Borrowed("") }
    }

    /// Adds a description to the span's status. It is ignored where the outcome is not a failure.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = description.into();
        self
    }

    /// The `error.type`, or `None` for a success.
    #[must_use]
    pub fn error_type(&self) -> Option<&Cow<'static, str>> {
        self.error_type.as_ref()
    }

    /// The status that the span gets.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.error_type {
            None => Status::Unset,
            Some(_) => Status::Error { description: self.description.clone() },
        }
    }
}
