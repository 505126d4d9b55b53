//! Why a request about users fails, and the status that says so.
//!
//! Telemetry is not mentioned here: the layer sees the status, and a 4xx is no error of the server's.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::client::AccountsError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    #[error("there is no user {0}")]
    NotFound(u64),
    #[error("another user has this email")]
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
