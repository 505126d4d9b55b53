//! Conversion of the client's results and a handler's output into the outcome of an operation.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Recording errors":
//! `error.type` has low cardinality. Its value is rdkafka's name for the error code, so that it matches the
//! application's source code.

use std::borrow::Cow;

use otel_operation::Outcome;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// `error.type` of a record that was purged because its transaction was aborted.
pub(crate) const ABORTED: &str = "aborted";

/// Returns the outcome of an operation that failed with this error.
pub(crate) fn of_error(error: &KafkaError) -> Outcome {
    Outcome::error(match error.rdkafka_error_code() {
        Some(code) => of_code(code),
        None => Cow::Borrowed(match error {
            KafkaError::Canceled => "Canceled",
            KafkaError::Nul(_) => "Nul",
            KafkaError::NoMessageReceived => "NoMessageReceived",
            KafkaError::PartitionEOF(_) => "PartitionEOF",
            KafkaError::Subscription(_) => "Subscription",
            _ => "_OTHER",
        }),
    })
}

/// Returns the outcome of a client operation.
pub(crate) fn of_result<T>(result: &Result<T, KafkaError>) -> Outcome {
    result.as_ref().map_or_else(of_error, |_| Outcome::ok())
}

/// Returns true if the client or the broker rejected the record because of its size.
pub(crate) fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// Returns true if the record was purged before the broker confirmed it.
pub(crate) fn is_purged(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// Returns the variant's name, which rdkafka's `Display` prints before the description.
fn of_code(code: RDKafkaErrorCode) -> Cow<'static, str> {
    // The most common codes do not allocate.
    Cow::Borrowed(match code {
        RDKafkaErrorCode::QueueFull => "QueueFull",
        RDKafkaErrorCode::MessageTimedOut => "MessageTimedOut",
        RDKafkaErrorCode::MessageSizeTooLarge => "MessageSizeTooLarge",
        other => return Cow::Owned(format!("{other:?}")),
    })
}

/// The output of a handler, from which the outcome of its `process` span is derived.
///
/// `Ok` and `()` are successes. An `Err` is a failure whose `error.type` is the name of the error's type. Implement
/// the trait for your own type to choose another outcome.
///
/// ```
/// use otel_kafka::{HandlerOutcome, Outcome};
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

    fn error_type(error: &KafkaError) -> String {
        of_error(error).error_type().unwrap().to_string()
    }

    #[test]
    fn an_error_is_named_as_rdkafka_names_it() {
        for code in [
            RDKafkaErrorCode::QueueFull,
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::MessageSizeTooLarge,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::Fatal,
        ] {
            assert_eq!(error_type(&KafkaError::MessageProduction(code)), format!("{code:?}"));
        }
        assert_eq!(error_type(&KafkaError::Canceled), "Canceled");
        assert_eq!(error_type(&KafkaError::Seek("a stranger's text".to_owned())), "_OTHER");
        assert_eq!(error_type(&KafkaError::Subscription("a stranger's text".to_owned())), "Subscription");
    }

    #[test]
    fn a_handlers_error_is_named_after_its_type() {
        let failed: Result<(), std::fmt::Error> = Err(std::fmt::Error);
        assert_eq!(failed.outcome().error_type().unwrap(), "core::fmt::Error");
        assert_eq!(Ok::<(), String>(()).outcome(), Outcome::ok());
        assert_eq!(().outcome(), Outcome::ok());
    }
}
