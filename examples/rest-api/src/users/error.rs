//! Errors of the users API and their status codes.
//!
//! This file has no telemetry code: the layer reads the status, and a server span does not record a 4xx as an error.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::client::AccountsError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    #[error("user {0} does not exist")]
    NotFound(u64),
    #[error("the email belongs to another user")]
    EmailTaken,
    #[error("{0} {1}")]
    Invalid(&'static str, &'static str),
    #[error(transparent)]
    Json(#[from] JsonRejection),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

impl UsersError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::EmailTaken => StatusCode::CONFLICT,
            Self::Invalid(..) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Json(rejection) => rejection.status(),
            Self::Accounts(AccountsError::Status(StatusCode::SERVICE_UNAVAILABLE)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Accounts(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl IntoResponse for UsersError {
    fn into_response(self) -> Response {
        (self.status(), Json(json!({ "error": self.to_string() }))).into_response()
    }
}
