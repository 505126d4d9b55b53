//! The accounts service: one account per user, two accounts in total.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use otel_http::ServerLayer;
use serde::{Deserialize, Serialize};

/// The maximum number of accounts; opening another one returns 503.
const MAX_ACCOUNTS: usize = 2;

/// The number of lines in a statement.
const LINES: u32 = 20;

/// The simulated time that one line takes.
const LINE_DELAY: Duration = Duration::from_millis(50);

/// The body of a request to open an account.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewAccount {
    pub(crate) owner: u64,
}

/// A user's account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) owner: u64,
    pub(crate) balance: i64,
}

#[derive(Clone, Default)]
struct Accounts(Arc<Mutex<BTreeMap<u64, Account>>>);

impl Accounts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn router(layer: &ServerLayer) -> Router {
    Router::new()
        .route("/accounts", post(open))
        .route("/accounts/{owner}", get(find).delete(close))
        .route("/accounts/{owner}/statement", get(statement))
        .layer(layer.clone())
        .with_state(Accounts::default())
}

async fn open(State(accounts): State<Accounts>, Json(NewAccount { owner }): Json<NewAccount>) -> Response {
    // Simulates a write to disk.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut accounts = accounts.lock();
    if accounts.len() >= MAX_ACCOUNTS {
        let retry_after = [(header::RETRY_AFTER, "3600")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry_after).into_response();
    }
    let account = accounts.entry(owner).or_insert(Account { owner, balance: 0 });
    (StatusCode::CREATED, Json(account.clone())).into_response()
}

async fn find(State(accounts): State<Accounts>, Path(owner): Path<u64>) -> Result<Json<Account>, StatusCode> {
    accounts.lock().get(&owner).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn close(State(accounts): State<Accounts>, Path(owner): Path<u64>) -> StatusCode {
    match accounts.lock().remove(&owner) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

/// Streams the statement line by line. When the client disconnects, the body is dropped and the stream ends.
async fn statement(State(accounts): State<Accounts>, Path(owner): Path<u64>) -> Result<Body, StatusCode> {
    if !accounts.lock().contains_key(&owner) {
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(Body::from_stream(stream::unfold(1, |line| async move {
        if line > LINES {
            return None;
        }
        tokio::time::sleep(LINE_DELAY).await;
        Some((Ok::<_, Infallible>(format!("{line:>3}  0.00\n")), line + 1))
    })))
}
