//! Mapping of trailers, headers and errors to a gRPC status, and of the status to an outcome.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Status" (a client
//! call fails with every status but OK, a server call only with those that the server is responsible for), [gRPC over
//! HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses", and the [mapping of HTTP
//! statuses](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).

use std::any::Any;
use std::error::Error;

use http::{HeaderMap, HeaderName, StatusCode};
use otel_operation::Outcome;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

/// A constant, because parsing the name would cost as much as the lookup.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The side of a call that a layer records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

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

/// Returns the outcome of a call with this status. It has no description, because the status message is unbounded and
/// may contain secrets.
pub(crate) fn of(side: Side, code: Code) -> Outcome {
    let failed = match side {
        Side::Client => code != Code::Ok,
        Side::Server => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
    };
    if failed { Outcome::error(name(code)) } else { Outcome::ok() }
}

/// Returns the status in headers or trailers. An invalid status is UNKNOWN.
pub(crate) fn told(headers: &HeaderMap) -> Option<Code> {
    headers.get(&GRPC_STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

/// Returns the status of a response without `grpc-status`, from its HTTP status.
pub(crate) fn untold(status: StatusCode) -> Code {
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

/// Returns the status of a call that failed with an error, before the response or within a stream. It is the status
/// that tonic derives from the error, except that an expired deadline is DEADLINE_EXCEEDED instead of CANCELLED.
pub(crate) fn of_error<E: 'static>(error: &E) -> Code {
    let any: &dyn Any = error;
    let mut cause: Option<&(dyn Error + 'static)> = if let Some(error) = any.downcast_ref::<Status>() {
        Some(error)
    } else if let Some(error) = any.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        Some(&**error)
    } else {
        known_by_feature(any)
    };
    // Bounded, so that a faulty `source` with a cycle does not loop forever.
    for _ in 0..16 {
        let Some(error) = cause else { break };
        if let Some(code) = code(error) {
            return code;
        }
        cause = error.source();
    }
    Code::Unknown
}

fn known_by_feature(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    #[cfg(feature = "transport")]
    {
        if let Some(error) = error.downcast_ref::<tonic::transport::Error>() {
            return Some(error);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return Some(error);
        }
    }
    let _ = error;
    None
}

/// Returns the status of this error, without its causes.
fn code(error: &(dyn Error + 'static)) -> Option<Code> {
    if let Some(status) = error.downcast_ref::<Status>() {
        return Some(status.code());
    }
    if error.is::<TimeoutExpired>() {
        return Some(Code::DeadlineExceeded);
    }
    if error.is::<ConnectError>() {
        return Some(Code::Unavailable);
    }
    #[cfg(feature = "transport")]
    {
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Some(Code::ResourceExhausted);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_timeout() {
                return Some(Code::Unavailable);
            }
            if error.is_canceled() {
                return Some(Code::Cancelled);
            }
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return Some(of_reset(error.reason()));
        }
    }
    None
}

/// Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Errors".
#[cfg(feature = "transport")]
fn of_reset(reason: Option<h2::Reason>) -> Code {
    match reason {
        Some(
            h2::Reason::NO_ERROR
            | h2::Reason::PROTOCOL_ERROR
            | h2::Reason::INTERNAL_ERROR
            | h2::Reason::FLOW_CONTROL_ERROR
            | h2::Reason::SETTINGS_TIMEOUT
            | h2::Reason::FRAME_SIZE_ERROR
            | h2::Reason::COMPRESSION_ERROR
            | h2::Reason::CONNECT_ERROR,
        ) => Code::Internal,
        Some(h2::Reason::REFUSED_STREAM) => Code::Unavailable,
        Some(h2::Reason::CANCEL) => Code::Cancelled,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
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
        let errors = |side| {
            let failed = |code: &i32| of(side, Code::from_i32(*code)).error_type().is_some();
            (0..17).filter(failed).collect::<Vec<_>>()
        };
        assert_eq!(errors(Side::Client), (1..17).collect::<Vec<_>>());
        assert_eq!(errors(Side::Server), [2, 4, 12, 13, 14, 15]);
        assert_eq!(of(Side::Server, Code::DataLoss).error_type().unwrap(), "DATA_LOSS");
    }

    #[test]
    fn what_is_no_status_is_unknown() {
        let told = |status: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(&GRPC_STATUS, http::HeaderValue::from_bytes(status).unwrap());
            told(&headers)
        };
        assert_eq!(told(b"0"), Some(Code::Ok));
        assert_eq!(told(b"16"), Some(Code::Unauthenticated));
        for status in ["17", "", "-1", "00", "OK", "999999999999999999999"] {
            assert_eq!(told(status.as_bytes()), Some(Code::Unknown), "{status:?}");
        }
        assert_eq!(told(b"\xff"), Some(Code::Unknown));
        assert_eq!(super::told(&HeaderMap::new()), None);
    }

    #[test]
    fn a_reply_without_a_status_is_read_from_http() {
        let read = |code: u16| untold(StatusCode::from_u16(code).unwrap());
        assert_eq!(read(200), Code::Unknown);
        assert_eq!(read(404), Code::Unimplemented);
        assert_eq!(read(503), Code::Unavailable);
        assert_eq!(read(418), Code::Unknown);
    }

    #[test]
    fn errors_are_looked_through_to_what_they_stand_for() {
        let boxed = |error: Box<dyn Error + Send + Sync>| of_error(&error);
        assert_eq!(of_error(&Status::not_found("x")), Code::NotFound);
        assert_eq!(boxed(Status::aborted("x").into()), Code::Aborted);
        assert_eq!(boxed(TimeoutExpired(()).into()), Code::DeadlineExceeded);
        assert_eq!(boxed(ConnectError("refused".into()).into()), Code::Unavailable);
        assert_eq!(boxed("secret".into()), Code::Unknown);
        assert_eq!(of_error(&std::fmt::Error), Code::Unknown);
        #[cfg(feature = "transport")]
        for (reason, code) in [
            (h2::Reason::CANCEL, Code::Cancelled),
            (h2::Reason::REFUSED_STREAM, Code::Unavailable),
            (h2::Reason::INTERNAL_ERROR, Code::Internal),
            (h2::Reason::STREAM_CLOSED, Code::Unknown),
        ] {
            assert_eq!(boxed(h2::Error::from(reason).into()), code);
        }
        #[cfg(feature = "transport")]
        assert_eq!(boxed(tower::load_shed::error::Overloaded::new().into()), Code::ResourceExhausted);
    }
}
