//! Mapping of responses and errors to an outcome with a bounded `error.type`.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "Status", for a
//! client: 4xx and 5xx are errors.

use std::borrow::Cow;

use http::Response;
use otel_operation::{Outcome, intern};
use otel_request::ErrorView;

use crate::error::ResilienceError;
use crate::grpc;

/// Returns the `error.type` of an error: of one of this crate its own, otherwise its class.
pub(crate) fn error_type<E: 'static>(error: &E) -> &'static str {
    let view = ErrorView::new(error);
    match view.find::<ResilienceError>() {
        Some(error) => error.error_type(),
        None => view.class().map_or("_OTHER", |class| class.as_str()),
    }
}

/// Returns the outcome of a call.
pub(crate) fn of_result<R, E: 'static>(result: &Result<Response<R>, E>) -> Outcome {
    match result {
        Ok(response) => of_response(response).map_or_else(Outcome::ok, Outcome::error),
        Err(error) => Outcome::error(error_type(error)),
    }
}

/// Returns the `error.type` of a response that is a failure.
pub(crate) fn of_response<R>(response: &Response<R>) -> Option<Cow<'static, str>> {
    if let Some(code) = grpc::code_from_headers(response.headers()) {
        return (code != 0).then(|| grpc::name(code).into());
    }
    let status = response.status();
    // Interning is bounded: a status code has three digits.
    (status.as_u16() >= 400).then(|| intern(status.as_str()))
}
