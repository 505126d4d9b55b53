//! How an exchange ended: statuses and errors as outcomes with a bounded `error.type`.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "Status" (a
//! 4xx is an error to the client alone) and `error.type`.

use std::any::{Any, type_name};
use std::error::Error;
use std::io;

use http::StatusCode;
use otel_operation::{Outcome, intern};

/// How a server's answer with this status ended: 5xx is an error.
pub(crate) fn of_server(status: StatusCode) -> Outcome {
    if status.is_server_error() { failed(status) } else { Outcome::ok() }
}

/// How a client's call with this status ended: 4xx and 5xx are errors.
pub(crate) fn of_client(status: StatusCode) -> Outcome {
    if status.as_u16() >= 400 { failed(status) } else { Outcome::ok() }
}

/// The conventions want no description here: the code says it all.
fn failed(status: StatusCode) -> Outcome {
    // Out of a thousand codes at most, and made only when something failed.
    Outcome::error(intern(status.as_str()))
}

/// How an exchange ended that failed with an error in place of an answer, or in the middle of a body.
pub(crate) fn of_error<E: 'static>(error: &E) -> Outcome {
    Outcome::error(error_type(error))
}

/// A class for an error of any type: never its text, which may hold anything.
///
/// What is known is looked through for the I/O error at its root; what is not is called by the name of its type.
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

/// A box has no type of its own to be called by.
fn is_boxed<E: 'static>() -> bool {
    use std::any::TypeId;
    [TypeId::of::<Box<dyn Error + Send + Sync>>(), TypeId::of::<Box<dyn Error + Send>>()]
        .contains(&TypeId::of::<E>())
}

/// The kind of the first I/O error among an error's causes.
fn io_kind(error: &(dyn Error + 'static)) -> Option<&'static str> {
    // A chain of causes that has no end is a bug elsewhere that must not become an endless loop here.
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
