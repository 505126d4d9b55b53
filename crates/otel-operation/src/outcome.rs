//! The outcome of an operation, from which the span status and `error.type` of its span and metrics derive.
//!
//! Follows the [general conventions for recording
//! errors](https://opentelemetry.io/docs/specs/semconv/general/recording-errors/): a failure sets `error.type` and
//! the span status, with a description only where it adds to `error.type`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use opentelemetry::trace::Status;

use crate::cache::intern;

/// The attribute that names the class of a failure, on spans and on metrics.
pub const ERROR_TYPE: &str = "error.type";

/// The outcome of an operation.
///
/// A success leaves the span status unset. A failure has an `error.type` from a small set that the transport defines,
/// and optionally a description, which appears in the span status and never in metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    error_type: Option<Cow<'static, str>>,
    /// The description of the span status; `None` if a failure leaves the status unset.
    description: Option<Cow<'static, str>>,
}

impl Outcome {
    /// Creates a success.
    #[must_use]
    pub const fn ok() -> Self {
        Self { error_type: None, description: Some(Cow::Borrowed("")) }
    }

    /// Creates a failure. `error_type` must have a low cardinality, because it is a metric attribute.
    #[must_use]
    pub fn error(error_type: impl Into<Cow<'static, str>>) -> Self {
        Self { error_type: Some(error_type.into()), ..Self::ok() }
    }

    /// Creates a failure whose `error.type` is the name of the error's variant, which its `Debug` text begins with:
    /// the fields of a variant are left out. Text that begins with no name is `_OTHER`. The name is interned, so that
    /// a repeated failure does not allocate.
    #[must_use]
    pub fn from_variant(error: &impl fmt::Debug) -> Self {
        let mut name = VariantName { text: [0; VARIANT_LEN], len: 0 };
        // It stops with an error at the end of the name.
        let _ = write!(name, "{error:?}");
        let name = std::str::from_utf8(&name.text[..name.len]).ok().filter(|name| !name.is_empty());
        Self::error(name.map_or(Cow::Borrowed("_OTHER"), intern))
    }

    /// Creates the failure of an operation that its caller dropped: `error.type` is `cancelled`.
    #[must_use]
    pub const fn cancelled() -> Self {
        Self::constant("cancelled")
    }

    /// Creates the failure of an operation whose user code panicked: `error.type` is `panic`.
    #[must_use]
    pub const fn panicked() -> Self {
        Self::constant("panic")
    }

    const fn constant(error_type: &'static str) -> Self {
        Self { error_type: Some(Cow::Borrowed(error_type)), description: Some(Cow::Borrowed("")) }
    }

    /// Leaves the span status unset, for a failure that the application caused on purpose, such as the cancellation of a
    /// hedged call. `error.type` stays, so that the operation does not count as a success.
    #[must_use]
    pub fn intended(mut self) -> Self {
        self.description = None;
        self
    }

    /// Sets the description of the span status. A success and an [intended](Self::intended) failure ignore it.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = self.description.map(|_| description.into());
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
        match (&self.error_type, &self.description) {
            (Some(_), Some(description)) => Status::Error { description: description.clone() },
            _ => Status::Unset,
        }
    }
}

/// The longest name of a variant that is kept, in bytes.
const VARIANT_LEN: usize = 64;

/// The first identifier of a `Debug` text.
struct VariantName {
    text: [u8; VARIANT_LEN],
    len: usize,
}

impl fmt::Write for VariantName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let is_part = byte.is_ascii_alphanumeric() || byte == b'_';
            match self.text.get_mut(self.len) {
                Some(slot) if is_part => *slot = byte,
                _ => return Err(fmt::Error),
            }
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "its fields are read by `Debug` alone")]
    enum Failure {
        TimedOut,
        Refused { by: &'static str },
        Wrapped(Box<Failure>),
    }

    #[test]
    fn a_variant_names_the_class_and_its_fields_stay_out() {
        for (failure, name) in [
            (Failure::TimedOut, "TimedOut"),
            (Failure::Refused { by: "a secret" }, "Refused"),
            (Failure::Wrapped(Box::new(Failure::TimedOut)), "Wrapped"),
        ] {
            let outcome = Outcome::from_variant(&failure);
            let error_type = outcome.error_type();
            assert!(matches!(error_type, Some(Cow::Borrowed(interned)) if *interned == name), "{outcome:?}");
        }
        assert_eq!(Outcome::from_variant(&"a text"), Outcome::error("_OTHER"));
    }

    #[test]
    fn a_long_name_is_truncated() {
        let long = "x".repeat(99);
        assert_eq!(Outcome::from_variant(&format_args!("{long}")), Outcome::error("x".repeat(64)));
    }

    #[test]
    fn an_intended_failure_keeps_its_class_and_leaves_the_status_unset() {
        let intended = Outcome::cancelled().intended().with_description("lost the race");
        assert_eq!(
            (intended.status(), intended.error_type().map(AsRef::as_ref)),
            (Status::Unset, Some("cancelled"))
        );
        assert_eq!(Outcome::cancelled().status(), Status::error(""));
        assert_eq!(Outcome::error("x").with_description("why").status(), Status::error("why"));
        assert_eq!(Outcome::ok().with_description("why").status(), Status::Unset);
    }
}
