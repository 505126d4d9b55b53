//! The error types of each library: the class that they give evidence of, and their causes.
//!
//! Only types, kinds and structure count, never the text of an error.

use std::any::Any;
use std::error::Error;
use std::io;

use super::ErrorClass;
use super::causes::inside_io;

type DynError = dyn Error + 'static;

/// A class, and whether it stands (`true`) or a cause further in may say more (`false`).
type Evidence = (ErrorClass, bool);

/// Returns an error of a known type as a trait object.
pub(super) fn as_error(any: &dyn Any) -> Option<&DynError> {
    let known = known::<io::Error>(any).or_else(|| boxed(any));
    #[cfg(feature = "axum")]
    let known = known.or_else(|| self::known::<axum::Error>(any));
    #[cfg(feature = "h2")]
    let known = known.or_else(|| self::known::<h2::Error>(any));
    #[cfg(feature = "hyper")]
    let known = known.or_else(|| self::known::<hyper::Error>(any));
    #[cfg(feature = "hyper-util")]
    let known = known.or_else(|| self::known::<hyper_util::client::legacy::Error>(any));
    #[cfg(feature = "reqwest")]
    let known = known
        .or_else(|| self::known::<reqwest::Error>(any))
        .or_else(|| self::known::<reqwest_middleware::Error>(any));
    #[cfg(feature = "rustls")]
    let known = known.or_else(|| self::known::<rustls::Error>(any));
    #[cfg(feature = "tokio")]
    let known = known.or_else(|| self::known::<tokio::time::error::Elapsed>(any));
    #[cfg(feature = "tonic")]
    let known = known
        .or_else(|| self::known::<tonic::transport::Error>(any))
        .or_else(|| self::known::<tonic::Status>(any))
        .or_else(|| self::known::<tonic::TimeoutExpired>(any))
        .or_else(|| self::known::<tonic::ConnectError>(any));
    #[cfg(feature = "tower")]
    let known = known
        .or_else(|| self::known::<tower::timeout::error::Elapsed>(any))
        .or_else(|| self::known::<tower::load_shed::error::Overloaded>(any))
        .or_else(|| self::known::<tower::buffer::error::Closed>(any));
    known
}

fn known<T: Error + 'static>(any: &dyn Any) -> Option<&DynError> {
    any.downcast_ref::<T>().map(|error| error as &DynError)
}

fn boxed(any: &dyn Any) -> Option<&DynError> {
    if let Some(error) = any.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return Some(&**error);
    }
    if let Some(error) = any.downcast_ref::<Box<dyn Error + Send>>() {
        return Some(&**error);
    }
    any.downcast_ref::<Box<dyn Error>>().map(|error| &**error)
}

/// Returns the cause of an error; of wrappers whose `source` skips the error that they wrap, that error.
pub(super) fn cause(error: &DynError) -> Option<&DynError> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return inside_io(error);
    }
    #[cfg(feature = "h2")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return error.get_io().map(|error| error as &DynError);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest_middleware::Error>() {
        return Some(match error {
            reqwest_middleware::Error::Reqwest(error) => error,
            reqwest_middleware::Error::Middleware(error) => error.as_ref(),
        });
    }
    error.source()
}

/// Returns the evidence in the type of this error, without its causes.
pub(super) fn evidence(error: &DynError) -> Option<Evidence> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(io_evidence(error));
    }
    #[cfg(feature = "h2")]
    if let Some(error) = error.downcast_ref() {
        return h2_evidence(error);
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref() {
        return hyper_evidence(error);
    }
    #[cfg(feature = "hyper-util")]
    if let Some(evidence) = hyper_util_evidence(error) {
        return Some(evidence);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref() {
        return reqwest_evidence(error);
    }
    #[cfg(feature = "rustls")]
    if error.is::<rustls::Error>() {
        return Some((ErrorClass::Tls, true));
    }
    #[cfg(feature = "tokio")]
    if error.is::<tokio::time::error::Elapsed>() {
        return Some((ErrorClass::Timeout, true));
    }
    #[cfg(feature = "tonic")]
    {
        if error.is::<tonic::TimeoutExpired>() {
            return Some((ErrorClass::Timeout, true));
        }
        if error.is::<tonic::ConnectError>() {
            return Some((ErrorClass::Connect, false));
        }
    }
    #[cfg(feature = "tower")]
    {
        if error.is::<tower::timeout::error::Elapsed>() {
            return Some((ErrorClass::Timeout, true));
        }
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Some((ErrorClass::Overloaded, true));
        }
        if error.is::<tower::buffer::error::Closed>() {
            return Some((ErrorClass::ServiceClosed, true));
        }
    }
    None
}

fn io_evidence(error: &io::Error) -> Evidence {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (ErrorClass::ConnectionRefused, true),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            (ErrorClass::ConnectionReset, true)
        }
        io::ErrorKind::TimedOut => (ErrorClass::Timeout, true),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => (ErrorClass::ConnectionClosed, true),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            (ErrorClass::Unreachable, true)
        }
        _ => (ErrorClass::Io, false),
    }
}

/// Follows [RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-7), "Error Codes".
#[cfg(feature = "h2")]
fn h2_evidence(error: &h2::Error) -> Option<Evidence> {
    use h2::Reason;

    if error.is_io() {
        return None;
    }
    let class = match error.reason() {
        Some(Reason::REFUSED_STREAM | Reason::ENHANCE_YOUR_CALM) => ErrorClass::Overloaded,
        Some(Reason::INADEQUATE_SECURITY) => ErrorClass::Tls,
        Some(Reason::NO_ERROR | Reason::CANCEL | Reason::INTERNAL_ERROR | Reason::CONNECT_ERROR) => {
            if error.is_go_away() { ErrorClass::ConnectionClosed } else { ErrorClass::StreamReset }
        }
        _ => ErrorClass::Protocol,
    };
    Some((class, true))
}

#[cfg(feature = "hyper")]
fn hyper_evidence(error: &hyper::Error) -> Option<Evidence> {
    Some(if error.is_timeout() {
        (ErrorClass::Timeout, true)
    } else if error.is_incomplete_message() {
        (ErrorClass::ConnectionClosed, true)
    } else if error.is_parse() {
        (ErrorClass::Protocol, true)
    } else if error.is_canceled() || error.is_closed() || error.is_shutdown() {
        (ErrorClass::ConnectionClosed, false)
    } else if error.is_user() {
        (ErrorClass::Request, false)
    } else if error.source().and_then(|cause| cause.downcast_ref()).is_some_and(is_invalid) {
        (ErrorClass::Protocol, false)
    } else {
        return None;
    })
}

/// Returns true for hyper's errors of a chunked body that it cannot decode. Errors of TLS have the same kinds, and a cause.
#[cfg(feature = "hyper")]
fn is_invalid(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}

#[cfg(feature = "hyper-util")]
fn hyper_util_evidence(error: &DynError) -> Option<Evidence> {
    use hyper_util::client::legacy;

    /// The error of hyper-util's connector, a type that has no other public path.
    type ConnectError = <legacy::connect::HttpConnector as tower_service::Service<http::Uri>>::Error;

    if let Some(error) = error.downcast_ref::<legacy::Error>() {
        return error.is_connect().then_some((ErrorClass::Connect, false));
    }
    let error: &ConnectError = error.downcast_ref()?;
    // The connector's own causes are I/O errors: of the system, which have its error code, and two that it makes itself. All
    // others are the resolver's.
    let is_of_socket = |cause: &io::Error| {
        cause.raw_os_error().is_some()
            || matches!(cause.kind(), io::ErrorKind::TimedOut | io::ErrorKind::NotConnected)
    };
    match error.source() {
        None => Some((ErrorClass::Connect, false)),
        Some(cause) if cause.downcast_ref().is_some_and(is_of_socket) => Some((ErrorClass::Connect, false)),
        Some(_) => Some((ErrorClass::Dns, true)),
    }
}

#[cfg(feature = "reqwest")]
fn reqwest_evidence(error: &reqwest::Error) -> Option<Evidence> {
    Some(if error.is_timeout() {
        (ErrorClass::Timeout, true)
    } else if error.is_dns() {
        (ErrorClass::Dns, true)
    } else if error.is_redirect() {
        (ErrorClass::Redirect, true)
    } else if error.is_builder() {
        (ErrorClass::Request, true)
    } else if error.is_connect() {
        (ErrorClass::Connect, false)
    } else {
        return None;
    })
}
