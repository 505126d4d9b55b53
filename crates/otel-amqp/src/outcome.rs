//! Conversion of the client's results into the outcome of an operation.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Recording errors":
//! `error.type` has low cardinality. It is the broker's name for its reply code, or lapin's name for the kind of the error.

use lapin::{Confirmation, Error, ErrorKind, Result};
use otel_operation::Outcome;

/// Returns the outcome of a client operation.
pub(crate) fn of_result<T>(result: &Result<T>) -> Outcome {
    result.as_ref().map_or_else(of_error, |_| Outcome::ok())
}

/// Returns the outcome of an operation that failed with this error.
pub(crate) fn of_error(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Outcome::error(reply_name(error.get_id())),
        kind => Outcome::from_variant(kind),
    }
}

/// Returns the outcome of a message to which the broker answered. A message that the broker could not route is returned
/// with a reply code, and acknowledged.
pub(crate) fn of_confirmation(result: &Result<Confirmation>, reply_code: Option<u16>) -> Outcome {
    match (result, reply_code) {
        (Err(error), _) => of_error(error),
        (Ok(_), Some(code)) => Outcome::error(reply_name(code)),
        (Ok(Confirmation::Nack(_)), None) => Outcome::error("nack"),
        (Ok(Confirmation::Ack(_) | Confirmation::NotRequested), None) => Outcome::ok(),
    }
}

/// Returns the outcome of a settlement. The client sends none for a delivery that was settled before, or whose channel is
/// closed.
pub(crate) fn of_settlement(result: &Result<bool>) -> Outcome {
    match result {
        Ok(true) => Outcome::ok(),
        Ok(false) => Outcome::error("not_sent"),
        Err(error) => of_error(error),
    }
}

/// Returns the name of a reply code, as the broker writes it:
/// <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>, "Constants".
fn reply_name(code: u16) -> &'static str {
    match code {
        311 => "CONTENT_TOO_LARGE",
        312 => "NO_ROUTE",
        313 => "NO_CONSUMERS",
        320 => "CONNECTION_FORCED",
        402 => "INVALID_PATH",
        403 => "ACCESS_REFUSED",
        404 => "NOT_FOUND",
        405 => "RESOURCE_LOCKED",
        406 => "PRECONDITION_FAILED",
        501 => "FRAME_ERROR",
        502 => "SYNTAX_ERROR",
        503 => "COMMAND_INVALID",
        504 => "CHANNEL_ERROR",
        505 => "UNEXPECTED_FRAME",
        506 => "RESOURCE_ERROR",
        530 => "NOT_ALLOWED",
        540 => "NOT_IMPLEMENTED",
        541 => "INTERNAL_ERROR",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use lapin::protocol::AMQPError;

    use super::*;

    fn error_type(outcome: &Outcome) -> String {
        outcome.error_type().unwrap().to_string()
    }

    #[test]
    fn an_error_has_the_brokers_name_or_that_of_its_kind() {
        for (code, name) in [(404, "NOT_FOUND"), (406, "PRECONDITION_FAILED"), (501, "FRAME_ERROR")] {
            let error = AMQPError::from_id(code, "a peer's text".into()).unwrap();
            assert_eq!(error_type(&of_error(&ErrorKind::ProtocolError(error).into())), name);
        }
        let lost = Error::from(io::Error::other("a peer's text"));
        assert_eq!(error_type(&of_result::<()>(&Err(lost))), "IOError");
        assert_eq!(error_type(&of_error(&ErrorKind::ChannelsLimitReached.into())), "ChannelsLimitReached");
        assert_eq!(reply_name(999), "_OTHER");
    }

    #[test]
    fn a_confirmation_is_an_answer_about_the_message() {
        assert_eq!(of_confirmation(&Ok(Confirmation::Ack(None)), None), Outcome::ok());
        assert_eq!(of_confirmation(&Ok(Confirmation::NotRequested), None), Outcome::ok());
        assert_eq!(error_type(&of_confirmation(&Ok(Confirmation::Nack(None)), None)), "nack");
        assert_eq!(error_type(&of_confirmation(&Ok(Confirmation::Ack(None)), Some(312))), "NO_ROUTE");
        let lost = Err(ErrorKind::ChannelsLimitReached.into());
        assert_eq!(error_type(&of_confirmation(&lost, Some(312))), "ChannelsLimitReached");
    }

    #[test]
    fn a_settlement_that_was_not_sent_is_a_failure() {
        assert_eq!(of_settlement(&Ok(true)), Outcome::ok());
        assert_eq!(error_type(&of_settlement(&Ok(false))), "not_sent");
    }
}
