//! Conversion of the client's results into the outcome of an operation.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Recording errors":
//! `error.type` has low cardinality. Its value is async-nats' name for the kind of the error, so that it matches the
//! application's source code.

use std::fmt::{Debug, Display};

use async_nats::error::Error;
use otel_operation::Outcome;

/// Returns the outcome of a client operation.
pub(crate) fn of_result<T, K>(result: &Result<T, Error<K>>) -> Outcome
where
    K: Clone + Debug + Display + PartialEq,
{
    result.as_ref().map_or_else(of_error, |_| Outcome::ok())
}

/// Returns the outcome of an operation that failed with this error.
pub(crate) fn of_error<K>(error: &Error<K>) -> Outcome
where
    K: Clone + Debug + Display + PartialEq,
{
    Outcome::from_variant(&error.kind())
}

/// Returns the outcome of a settlement, whose errors have no kind.
#[cfg(feature = "jetstream")]
pub(crate) fn of_settlement(result: &Result<(), async_nats::Error>) -> Outcome {
    result.as_ref().map_or_else(|_| Outcome::error("_OTHER"), |()| Outcome::ok())
}

#[cfg(test)]
mod tests {
    use async_nats::{PublishErrorKind, RequestErrorKind};

    use super::*;

    fn error_type<K: Clone + Debug + Display + PartialEq>(kind: K) -> String {
        let failed: Result<(), _> = Err(Error::with_source(kind, "a peer's text"));
        of_result(&failed).error_type().unwrap().to_string()
    }

    #[test]
    fn an_error_is_named_as_the_client_names_its_kind() {
        for (kind, name) in [
            (RequestErrorKind::TimedOut, "TimedOut"),
            (RequestErrorKind::NoResponders, "NoResponders"),
            (RequestErrorKind::InvalidSubject, "InvalidSubject"),
            (RequestErrorKind::MaxPayloadExceeded, "MaxPayloadExceeded"),
            (RequestErrorKind::Other, "Other"),
        ] {
            assert_eq!(error_type(kind), name);
        }
        assert_eq!(error_type(PublishErrorKind::Send), "Send");
        assert_eq!(of_result(&Ok::<_, Error<PublishErrorKind>>(())), Outcome::ok());
    }
}
