//! Mapping of HTTP statuses to outcomes with a bounded `error.type`. Errors are classified by `otel-request`.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "Status" (a
//! 4xx is an error only on client spans) and `error.type`.

use http::StatusCode;
use otel_operation::{Outcome, intern};

/// Returns the outcome of a server response: 5xx is an error.
pub(crate) fn of_server(status: StatusCode) -> Outcome {
    if status.is_server_error() { failed(status) } else { Outcome::ok() }
}

/// Returns the outcome of a client call: 4xx and 5xx are errors.
pub(crate) fn of_client(status: StatusCode) -> Outcome {
    if status.as_u16() >= 400 { failed(status) } else { Outcome::ok() }
}

/// Returns the error outcome of a status. The conventions ask for no description, because `error.type` is the code.
fn failed(status: StatusCode) -> Outcome {
    // Interning is bounded: a status code has three digits.
    Outcome::error(intern(status.as_str()))
}

/// Returns the outcome of a response whose body ended before its declared length: its reader sees it fail.
pub(crate) fn of_short_body() -> Outcome {
    Outcome::error("body_incomplete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_errors_by_side() {
        for (code, server, client) in
            [(200, None, None), (302, None, None), (404, None, Some("404")), (503, Some("503"), Some("503"))]
        {
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(of_server(status).error_type().map(AsRef::as_ref), server);
            assert_eq!(of_client(status).error_type().map(AsRef::as_ref), client);
        }
    }
}
