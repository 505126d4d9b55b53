//! The rules of HTTP and gRPC: the requests that may be repeated, and the results that are failures.
//!
//! Follows [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2), "Idempotent Methods".

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Response, StatusCode};
use otel_operation::catch_panic;
use otel_request::{ErrorView, ResponseHead};

use super::after;
use super::progress::Failure;
use crate::clone_request::RequestRule;
use crate::error::ResilienceError;
use crate::outcome;

type ResponseRule = Arc<dyn Fn(&ResponseHead<'_>) -> bool + Send + Sync>;
type ErrorRule = Arc<dyn Fn(&ErrorView<'_>) -> bool + Send + Sync>;

/// The rules of a layer. A rule of the application that panics allows no retry.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub(crate) requests: RequestRule,
    pub(crate) responses: Option<ResponseRule>,
    pub(crate) errors: Option<ErrorRule>,
}

impl Rules {
    /// Returns the failure of a result that may be retried.
    #[inline]
    pub(super) fn failure<R, E: 'static>(&self, result: &Result<Response<R>, E>) -> Option<Failure> {
        match result {
            Ok(response) => self.failure_of_response(response),
            Err(error) => self.failure_of_error(error),
        }
    }

    #[inline]
    fn failure_of_response<R>(&self, response: &Response<R>) -> Option<Failure> {
        let is_failure = match &self.responses {
            None => is_transient(response.status()),
            Some(rule) => catch_panic(|| rule(&ResponseHead::new(response))).unwrap_or(false),
        };
        is_failure.then(|| Failure {
            error_type: outcome::of_response(response).unwrap_or("_OTHER".into()),
            pushback: after::from_grpc_headers(response.headers())
                .or_else(|| after::from_headers(response.headers(), SystemTime::now())),
        })
    }

    #[cold]
    fn failure_of_error<E: 'static>(&self, error: &E) -> Option<Failure> {
        let view = ErrorView::new(error);
        let is_failure = match &self.errors {
            // A refusal says that sending is of no use now.
            None => !view.find::<ResilienceError>().is_some_and(ResilienceError::is_refusal),
            Some(rule) => catch_panic(|| rule(&view)).unwrap_or(false),
        };
        is_failure.then(|| Failure { error_type: outcome::error_type(error).into(), pushback: None })
    }
}

/// Returns true for statuses that another attempt may change.
fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("requests", &self.requests)
            .field("responses", &self.responses.is_some())
            .field("errors", &self.errors.is_some())
            .finish()
    }
}
