//! Mapping of trailers, headers and HTTP statuses to a gRPC status, and of the status to an outcome.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Status" (a client
//! call fails with every status but OK, a server call only with those that the server is responsible for), [gRPC over
//! HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses", and the [mapping of HTTP
//! statuses](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).

use http::{HeaderMap, HeaderName, StatusCode};
use otel_operation::{Outcome, intern};
use tonic::Code;

use crate::carrier::find;

/// A constant, because parsing the name would cost as much as the lookup.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Limit in bytes of a status message that is decoded.
const LONGEST_MESSAGE: usize = 3 * 4_096;

/// Returns the name of a status in the conventions.
pub(crate) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Returns the outcome of a server's call: an error for the statuses that the server is responsible for.
pub(crate) fn of_server(code: Code) -> Outcome {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Outcome::error(name(code)),
        _ => Outcome::ok(),
    }
}

/// Returns the outcome of a client's call: every status but OK is an error.
pub(crate) fn of_client(code: Code) -> Outcome {
    if code == Code::Ok { Outcome::ok() } else { Outcome::error(name(code)) }
}

/// Returns the outcome of a server's request that was no call, by its HTTP status.
#[cold]
pub(crate) fn of_other_request(status: StatusCode) -> Outcome {
    // Interning is bounded: a status code has three digits.
    if status.is_server_error() { Outcome::error(intern(status.as_str())) } else { Outcome::ok() }
}

/// Returns the status in headers or trailers. An invalid status is UNKNOWN.
pub(crate) fn code_from_headers(headers: &HeaderMap) -> Option<Code> {
    find(headers, &GRPC_STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

/// Returns the status message in headers or trailers, decoded.
#[cold]
pub(crate) fn message_from_headers(headers: &HeaderMap) -> Option<String> {
    let message = headers.get(&GRPC_MESSAGE)?.as_bytes();
    (!message.is_empty()).then(|| decode_message(message))
}

/// Decodes a status message. Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md),
/// "Percent-Encoded": an invalid escape is text.
pub(crate) fn decode_message(encoded: &[u8]) -> String {
    let encoded = &encoded[..encoded.len().min(LONGEST_MESSAGE)];
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [byte, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &rest[3..];
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Returns the status of a response without `grpc-status`, from its HTTP status.
pub(crate) fn code_from_http_status(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_number_and_its_name() {
        let names: Vec<_> = (0..17).map(|code| name(Code::from_i32(code))).collect();
        assert_eq!(names.concat().len(), names.iter().map(|name| name.len()).sum::<usize>());
        assert_eq!((names[0], names[5], names[16]), ("OK", "NOT_FOUND", "UNAUTHENTICATED"));
    }

    #[test]
    fn the_sides_differ_in_what_is_an_error() {
        let errors = |of: fn(Code) -> Outcome| {
            let failed = |code: &i32| of(Code::from_i32(*code)).error_type().is_some();
            (0..17).filter(failed).collect::<Vec<_>>()
        };
        assert_eq!(errors(of_client), (1..17).collect::<Vec<_>>());
        assert_eq!(errors(of_server), [2, 4, 12, 13, 14, 15]);
        assert_eq!(of_server(Code::DataLoss).error_type().unwrap(), "DATA_LOSS");
    }

    #[test]
    fn what_is_no_status_is_unknown() {
        let read = |status: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(&GRPC_STATUS, http::HeaderValue::from_bytes(status).unwrap());
            code_from_headers(&headers)
        };
        assert_eq!(read(b"0"), Some(Code::Ok));
        assert_eq!(read(b"16"), Some(Code::Unauthenticated));
        for status in ["17", "", "-1", "00", "OK", "999999999999999999999"] {
            assert_eq!(read(status.as_bytes()), Some(Code::Unknown), "{status:?}");
        }
        assert_eq!(read(b"\xff"), Some(Code::Unknown));
        assert_eq!(code_from_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn a_message_is_decoded_and_never_refused() {
        for (encoded, decoded) in [
            ("no such order", "no such order"),
            ("100%25 %E2%82%AC", "100% \u{20ac}"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz%41", "%zzA"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode_message(encoded.as_bytes()), decoded, "{encoded}");
        }
        assert_eq!(decode_message(&vec![b'x'; 1 << 20]).len(), LONGEST_MESSAGE);
    }

    #[test]
    fn a_reply_without_a_status_is_read_from_http() {
        let read = |code: u16| code_from_http_status(StatusCode::from_u16(code).unwrap());
        assert_eq!(read(200), Code::Unknown);
        assert_eq!(read(404), Code::Unimplemented);
        assert_eq!(read(503), Code::Unavailable);
        assert_eq!(read(418), Code::Unknown);
    }
}
