//! The service: transfers, balances and statements.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use otel_http::ServerLayer;

use crate::cache::Cache;
use crate::store::{Statement, Store};

/// The header with the key of a request, by which it is recognized when it is repeated.
const KEY: &str = "idempotency-key";

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) store: Store,
    pub(crate) cache: Cache,
}

/// A failure of the service. Its cause is on the span of the query or the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the store failed")]
    Store(#[from] sqlx::Error),
    #[error("the cache failed")]
    Cache(#[from] redis::RedisError),
    #[error("the header {KEY} is missing")]
    NoKey,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Store(_) | Self::Cache(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoKey => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}

pub(crate) fn router(ledger: Ledger) -> Router {
    Router::new()
        .route("/transfers/{from}/{to}/{amount}", post(transfer))
        .route("/accounts/{account}/balance", get(balance))
        .route("/statements", get(statements))
        .route("/statements/one-by-one", get(statements_one_by_one))
        .layer(ServerLayer::new())
        .with_state(ledger)
}

async fn transfer(
    State(mut ledger): State<Ledger>,
    Path((from, to, amount)): Path<(i64, i64, i64)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let key = headers.get(KEY).and_then(|key| key.to_str().ok()).ok_or(ApiError::NoKey)?;
    if !ledger.cache.begin(key).await? {
        return Ok(StatusCode::OK);
    }
    if !ledger.store.transfer(from, to, amount).await? {
        return Ok(StatusCode::CONFLICT);
    }
    ledger.cache.forget_balances(from, to).await?;
    Ok(StatusCode::CREATED)
}

async fn balance(State(mut ledger): State<Ledger>, Path(account): Path<i64>) -> Result<Response, ApiError> {
    if let Some(balance) = ledger.cache.balance(account).await? {
        return Ok(Json(balance).into_response());
    }
    let Some(balance) = ledger.store.balance(account).await? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    ledger.cache.keep_balance(account, balance).await?;
    Ok(Json(balance).into_response())
}

async fn statements(State(ledger): State<Ledger>) -> Result<Json<Vec<Statement>>, ApiError> {
    Ok(Json(ledger.store.statements().await?))
}

async fn statements_one_by_one(State(ledger): State<Ledger>) -> Result<Json<Vec<Statement>>, ApiError> {
    Ok(Json(ledger.store.statements_one_by_one().await?))
}
