//! Mapping of HTTP statuses and errors to outcomes with a bounded `error.type`.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "Status" (a
//! 4xx is an error only on client spans) and `error.type`.

use std::any::{Any, type_name};
use std::error::Error;
use std::io;

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

/// Returns the outcome of a request that failed with an error, before the response or within a body.
pub(crate) fn of_error<E: 'static>(error: &E) -> Outcome {
    Outcome::error(error_type(error))
}

/// Returns the `error.type` of any error, never its text, which may contain secrets and is unbounded.
///
/// Errors of known types are classified by the first I/O error among their causes, others by their type name.
fn error_type<E: 'static>(error: &E) -> &'static str {
    let any: &dyn Any = error;
    let known: Option<&(dyn Error + 'static)> = if let Some(error) = any.downcast_ref::<io::Error>() {
        Some(error)
    } else if let Some(error) = any.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        Some(&**error)
    } else if let Some(error) = any.downcast_ref::<Box<dyn Error + Send>>() {
        Some(&**error)
    } else {
        known_by_feature(any)
    };
    match known {
        Some(error) => {
            io_kind(error).unwrap_or_else(|| if is_boxed::<E>() { "_OTHER" } else { type_name::<E>() })
        }
        None => type_name::<E>(),
    }
}

fn known_by_feature(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    #[cfg(feature = "axum")]
    if let Some(error) = error.downcast_ref::<axum::Error>() {
        return Some(error);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return Some(error);
    }
    let _ = error;
    None
}

/// Returns `true` for a boxed error, whose type name does not identify the error.
fn is_boxed<E: 'static>() -> bool {
    use std::any::TypeId;
    [TypeId::of::<Box<dyn Error + Send + Sync>>(), TypeId::of::<Box<dyn Error + Send>>()]
        .contains(&TypeId::of::<E>())
}

/// Returns the kind of the first I/O error among an error and its causes.
fn io_kind(error: &(dyn Error + 'static)) -> Option<&'static str> {
    // Bounded, so that a faulty `source` with a cycle does not loop forever.
    let mut cause = error;
    let mut most = 16;
    let kind = loop {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            break error.kind();
        }
        most -= 1;
        cause = cause.source().filter(|_| most > 0)?;
    };
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "connection_refused",
        io::ErrorKind::ConnectionReset => "connection_reset",
        io::ErrorKind::ConnectionAborted => "connection_aborted",
        io::ErrorKind::BrokenPipe => "broken_pipe",
        io::ErrorKind::TimedOut => "timed_out",
        io::ErrorKind::UnexpectedEof => "unexpected_eof",
        io::ErrorKind::HostUnreachable => "host_unreachable",
        io::ErrorKind::NetworkUnreachable => "network_unreachable",
        io::ErrorKind::InvalidData => "invalid_data",
        _ => "io_error",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class<E: 'static>(error: E) -> String {
        of_error(&error).error_type().unwrap().to_string()
    }

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

    #[test]
    fn errors_are_classified_by_their_root_and_never_by_their_text() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(class(refused()), "connection_refused");
        assert_eq!(class(Box::<dyn Error + Send + Sync>::from(refused())), "connection_refused");
        assert_eq!(class(Box::<dyn Error + Send + Sync>::from("password=hunter2")), "_OTHER");
        assert_eq!(class(std::fmt::Error), "core::fmt::Error");
        #[cfg(feature = "axum")]
        assert_eq!(class(axum::Error::new(refused())), "connection_refused");
    }
}
