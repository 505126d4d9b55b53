//! The outcome of processing, taken from the output of a handler.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Recording errors":
//! `error.type` has low cardinality.

use otel_operation::Outcome;

/// The output of a handler, from which the outcome of its `process` span is derived.
///
/// `Ok` and `()` are successes. An `Err` is a failure whose `error.type` is the name of the error's type. Implement
/// the trait for your own type to choose another outcome.
///
/// ```
/// use otel_messaging::HandlerOutcome;
/// use otel_operation::Outcome;
///
/// enum Order { Shipped, SoldOut }
///
/// impl HandlerOutcome for Order {
///     fn outcome(&self) -> Outcome {
///         match self {
///             Self::Shipped => Outcome::ok(),
///             Self::SoldOut => Outcome::error("sold_out"),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how processing ended",
    label = "the handler returns this type",
    note = "return `()` or a `Result`, or implement `HandlerOutcome` for the type"
)]
pub trait HandlerOutcome {
    /// Returns the outcome of processing. Its `error.type` must have low cardinality.
    fn outcome(&self) -> Outcome;
}

impl HandlerOutcome for () {
    fn outcome(&self) -> Outcome {
        Outcome::ok()
    }
}

impl<T, E> HandlerOutcome for Result<T, E> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::ok(),
            Err(_) => Outcome::error(std::any::type_name::<E>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handlers_error_is_named_after_its_type() {
        let failed: Result<(), std::fmt::Error> = Err(std::fmt::Error);
        assert_eq!(failed.outcome().error_type().unwrap(), "core::fmt::Error");
        assert_eq!(Ok::<(), String>(()).outcome(), Outcome::ok());
        assert_eq!(().outcome(), Outcome::ok());
    }
}
