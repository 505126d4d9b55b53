//! What the client or a handler gave → how the operation ended.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Recording errors":
//! `error.type` is out of a small set. It is the name that rdkafka gives the code, which is what an application
//! compares with.

use std::borrow::Cow;

use otel_operation::Outcome;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// `error.type` of what was in a transaction that was aborted.
pub(crate) const ABORTED: &str = "aborted";

/// How an operation ended that gave this error.
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

/// How an operation of the client ended.
pub(crate) fn of_result<T>(result: &Result<T, KafkaError>) -> Outcome {
    result.as_ref().map_or_else(of_error, |_| Outcome::ok())
}

/// Whether the record was too large, for the client or for the broker.
pub(crate) fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// Whether the record was taken out of the queue before the broker has confirmed it.
pub(crate) fn is_purged(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// The variant's name, which is what rdkafka prints before the description in brackets.
fn of_code(code: RDKafkaErrorCode) -> Cow<'static, str> {
    // The common ones without an allocation.
    Cow::Borrowed(match code {
        RDKafkaErrorCode::QueueFull => "QueueFull",
        RDKafkaErrorCode::MessageTimedOut => "MessageTimedOut",
        RDKafkaErrorCode::MessageSizeTooLarge => "MessageSizeTooLarge",
        other => return Cow::Owned(format!("{other:?}")),
    })
}

/// What a handler gives back, seen as the end of its `process` span.
///
/// `Ok` and `()` are successes. An `Err` is a failure whose `error.type` is the name of the error's type; implement
/// the trait for a type of your own where something else is wanted.
///
/// ```
/// use otel_kafka::{Handled, Outcome};
///
/// enum Order { Shipped, SoldOut }
///
/// impl Handled for Order {
///     fn outcome(&self) -> Outcome {
///         match self {
///             Self::Shipped => Outcome::ok(),
///             Self::SoldOut => Outcome::error("sold_out"),
///         }
///     }
/// }
/// ```
pub trait Handled {
    /// How processing ended. An `error.type` must be out of a small set.
    fn outcome(&self) -> Outcome;
}

impl Handled for () {
    fn outcome(&self) -> Outcome {
        Outcome::ok()
    }
}

impl<T, E> Handled for Result<T, E> {
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
