//! Conversion of the client's results into the outcome of an operation.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Recording errors":
//! `error.type` has low cardinality. Its value is async-nats' name for the kind of the error, so that it matches the
//! application's source code.

use std::fmt::{Debug, Display};

use async_nats::error::Error;
use async_nats::{HeaderMap, Message, RequestError};
use otel_messaging::attributes::bounded;
use otel_operation::{Outcome, intern};

/// The headers by which the response of a service describes an error.
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR_TEXT: &str = "Nats-Service-Error";

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

/// Returns the outcome of a request: the error that its reply describes is a failure, as a status of 400 and above is one
/// of an HTTP request.
pub(crate) fn of_reply(result: &Result<Message, RequestError>) -> Outcome {
    let headers = result.as_ref().ok().and_then(|reply| reply.headers.as_ref());
    headers.and_then(of_service_error).unwrap_or_else(|| of_result(result))
}

/// Returns the outcome that the headers of a service's response describe, or `None` if they describe no error. A code that
/// has more than three digits or is no number is `_OTHER`, because a peer can choose it freely.
pub(crate) fn of_service_error(headers: &HeaderMap) -> Option<Outcome> {
    let value = |name: &str| {
        let (_, values) =
            headers.iter().find(|(other, _)| AsRef::<str>::as_ref(other).eq_ignore_ascii_case(name))?;
        values.first()
    };
    let code = value(ERROR_CODE)?.as_str();
    let is_code = matches!(code.len(), 1..=3) && code.bytes().all(|byte| byte.is_ascii_digit());
    let outcome = Outcome::error(if is_code { intern(code) } else { "_OTHER".into() });
    Some(match value(ERROR_TEXT) {
        Some(text) => outcome.with_description(bounded(text.as_str()).to_owned()),
        None => outcome,
    })
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

    #[test]
    fn an_error_of_a_service_is_its_code_if_that_is_short() {
        for (code, expected) in [
            ("404", "404"),
            ("7", "7"),
            ("4040", "_OTHER"),
            ("gone", "_OTHER"),
            ("", "_OTHER"),
            ("-1", "_OTHER"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("nats-service-error-code", code);
            headers.insert(ERROR_TEXT, "no such book");
            let outcome = of_service_error(&headers).unwrap();
            assert_eq!(outcome.error_type().unwrap(), expected);
            assert_eq!(outcome.status(), opentelemetry::trace::Status::error("no such book"));
        }
        assert_eq!(of_service_error(&HeaderMap::new()), None);
    }
}
