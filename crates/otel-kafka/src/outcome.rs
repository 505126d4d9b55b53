//! Conversion of the client's results into the outcome of an operation.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Recording errors":
//! `error.type` has low cardinality. Its value is rdkafka's name for the error code, so that it matches the
//! application's source code.

use otel_operation::Outcome;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// `error.type` of a record that was purged because its transaction was aborted.
pub(crate) const ABORTED: &str = "aborted";

/// Returns the outcome of an operation that failed with this error.
pub(crate) fn of_error(error: &KafkaError) -> Outcome {
    if let Some(code) = error.rdkafka_error_code() {
        return Outcome::from_variant(&code);
    }
    Outcome::error(match error {
        KafkaError::Canceled => "Canceled",
        KafkaError::Nul(_) => "Nul",
        KafkaError::NoMessageReceived => "NoMessageReceived",
        KafkaError::PartitionEOF(_) => "PartitionEOF",
        KafkaError::Subscription(_) => "Subscription",
        _ => "_OTHER",
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
}
