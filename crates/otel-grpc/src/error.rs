//! Mapping of errors to a gRPC status, by their causes.

use std::error::Error;

use otel_request::ErrorView;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

/// Returns the status of a call that failed with an error, before the response or within a stream. It is the status
/// that tonic derives from the error, except that an expired time-out is DEADLINE_EXCEEDED instead of CANCELLED or UNKNOWN.
pub(crate) fn code(error: &ErrorView<'_>) -> Code {
    error.causes().find_map(direct_code).unwrap_or(Code::Unknown)
}

/// Returns the view of an error, of tonic's [`Status`] without any feature.
pub(crate) fn view<E: 'static>(error: &E) -> ErrorView<'_> {
    let view = ErrorView::new(error);
    match view.downcast_ref::<Status>() {
        Some(status) => ErrorView::from_error(status),
        None => view,
    }
}

/// Returns the status of this error, without its causes.
fn direct_code(error: &(dyn Error + 'static)) -> Option<Code> {
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
        if error.is::<tower::timeout::error::Elapsed>() {
            return Some(Code::DeadlineExceeded);
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
            return Some(code_from_reset(error.reason()));
        }
    }
    None
}

/// Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Errors".
#[cfg(feature = "transport")]
fn code_from_reset(reason: Option<h2::Reason>) -> Code {
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
    fn errors_are_looked_through_to_what_they_stand_for() {
        let boxed = |error: Box<dyn Error + Send + Sync>| code(&view(&error));
        assert_eq!(code(&view(&Status::not_found("x"))), Code::NotFound);
        assert_eq!(boxed(Status::aborted("x").into()), Code::Aborted);
        assert_eq!(boxed(TimeoutExpired(()).into()), Code::DeadlineExceeded);
        assert_eq!(boxed(ConnectError("refused".into()).into()), Code::Unavailable);
        assert_eq!(boxed("secret".into()), Code::Unknown);
        assert_eq!(code(&view(&std::fmt::Error)), Code::Unknown);
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
        {
            assert_eq!(boxed(tower::load_shed::error::Overloaded::new().into()), Code::ResourceExhausted);
            assert_eq!(boxed(tower::timeout::error::Elapsed::new().into()), Code::DeadlineExceeded);
        }
    }
}
