//! The users API: list, get, create, update and delete, and two endpoints that show cancellation and a panic.

mod error;
mod store;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use otel_http::ServerLayer;
use serde::Serialize;

use self::error::UsersError;
use self::store::{Store, User, UserFields};
use crate::accounts::Account;
use crate::client::AccountsClient;

#[derive(Clone)]
struct Users {
    store: Arc<Store>,
    accounts: AccountsClient,
}

/// A user with the account from the accounts service.
#[derive(Serialize)]
struct UserWithAccount {
    #[serde(flatten)]
    user: User,
    account: Option<Account>,
}

type Fields = Result<Json<UserFields>, JsonRejection>;

/// The router, instrumented by the one `layer` around its routes.
pub(crate) fn router(accounts: AccountsClient, layer: &ServerLayer) -> Router {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(find).put(update).delete(delete))
        .route("/users/{id}/statement", get(statement))
        .route("/users/{id}/initials", get(initials))
        .layer(layer.clone())
        .with_state(Users { store: Arc::default(), accounts })
}

async fn list(State(users): State<Users>) -> Json<Vec<User>> {
    Json(users.store.all())
}

async fn find(State(users): State<Users>, Path(id): Path<u64>) -> Result<Json<UserWithAccount>, UsersError> {
    let user = users.store.get(id)?;
    let account = users.accounts.find(id).await?;
    Ok(Json(UserWithAccount { user, account }))
}

async fn create(State(users): State<Users>, fields: Fields) -> Result<impl IntoResponse, UsersError> {
    let Json(fields) = fields?;
    let user = users.store.create(fields)?;
    match users.accounts.open(user.id).await {
        Ok(_) => Ok((StatusCode::CREATED, [(header::LOCATION, format!("/users/{}", user.id))], Json(user))),
        Err(error) => {
            // A user without an account must not exist.
            users.store.delete(user.id)?;
            Err(error.into())
        }
    }
}

async fn update(
    State(users): State<Users>,
    Path(id): Path<u64>,
    fields: Fields,
) -> Result<Json<User>, UsersError> {
    let Json(fields) = fields?;
    users.store.update(id, fields).map(Json)
}

async fn delete(State(users): State<Users>, Path(id): Path<u64>) -> Result<StatusCode, UsersError> {
    users.store.get(id)?;
    users.accounts.close(id).await?;
    users.store.delete(id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Streams the statement from the accounts service.
async fn statement(State(users): State<Users>, Path(id): Path<u64>) -> Result<Body, UsersError> {
    users.store.get(id)?;
    Ok(users.accounts.statement(id).await?)
}

/// Contains a deliberate bug: it panics if the user has a single name.
async fn initials(State(users): State<Users>, Path(id): Path<u64>) -> Result<String, UsersError> {
    let name = users.store.get(id)?.name;
    let mut words = name.split_whitespace().map(|word| word.chars().take(1));
    let (Some(first), Some(last)) = (words.next(), words.next_back()) else {
        panic!("user {id} has no family name: {name:?}");
    };
    Ok(first.chain(last).collect())
}
