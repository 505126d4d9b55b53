//! A Postgres database as a participant: prepared transactions, and a table that remembers branches.
//!
//! Follows [PostgreSQL, `PREPARE TRANSACTION`](https://www.postgresql.org/docs/current/sql-prepare-transaction.html)
//! and `docs/sagas.md`, "Late prepares". The table's row is written inside the prepared transaction: it distinguishes
//! a repeated commit from one of a branch that never was prepared, and as a tombstone it blocks a prepare that comes
//! late.

mod branch;
mod sql;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};

pub use self::branch::PostgresBranch;
use super::participant::{Answer, Branch, Participant, Vote};
use crate::error::BoxError;

/// A database whose transactions can be prepared. Cloning is cheap.
///
/// Commits and rollbacks of what was prepared go to the same database, by the same user: Postgres asks for both.
#[derive(Clone)]
pub struct PostgresParticipant {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    pool: PgPool,
}

/// Why a database cannot take part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresParticipantError {
    /// It prepares no transactions: the server's setting `max_prepared_transactions` is 0, as it is by default.
    #[error("`max_prepared_transactions` is 0: set it to what `max_connections` is, and restart the server")]
    NotPrepared,
    /// The transaction has no branch of this participant: the name cannot be one.
    #[error(transparent)]
    Branch(#[from] super::BranchError),
    /// The database answered with an error, or did not answer.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl PostgresParticipant {
    /// The database of this pool, as a participant of this name. Looks whether transactions can be prepared there, and
    /// makes the table `twopc_branch` if there is none. The pool needs room for a connection more than there are branches
    /// that are worked on at once: commits use it.
    ///
    /// # Errors
    ///
    /// See [`PostgresParticipantError`].
    pub async fn connect(name: impl Into<String>, pool: PgPool) -> Result<Self, PostgresParticipantError> {
        let allowed: i32 = sqlx::query_scalar(sql::ALLOWED).fetch_one(&pool).await?;
        if allowed == 0 {
            return Err(PostgresParticipantError::NotPrepared);
        }
        sql::migrate(&pool).await?;
        Ok(Self { inner: Arc::new(Inner { name: name.into(), pool }) })
    }

    /// Begins this participant's branch of a transaction: what is done on its connection is prepared with it.
    ///
    /// # Errors
    ///
    /// See [`PostgresParticipantError`].
    pub async fn begin(
        &self,
        transaction: &super::Transaction,
    ) -> Result<PostgresBranch, PostgresParticipantError> {
        let branch = transaction.branch(&self.inner.name)?;
        self.begin_branch(branch).await
    }

    /// Begins a branch of a transaction whose coordinator is elsewhere: it came with a request.
    ///
    /// # Errors
    ///
    /// See [`PostgresParticipantError`].
    pub async fn begin_branch(&self, branch: Branch) -> Result<PostgresBranch, PostgresParticipantError> {
        PostgresBranch::begin(self, branch).await
    }

    /// Whether the branch is prepared in this database.
    async fn is_prepared(&self, connection: &mut PgConnection, branch: &Branch) -> Result<bool, sqlx::Error> {
        let found = sqlx::query(sql::IS_PREPARED).bind(branch.as_str()).fetch_optional(connection).await?;
        Ok(found.is_some())
    }
}

#[async_trait]
impl Participant for PostgresParticipant {
    fn name(&self) -> &str {
        &self.inner.name
    }

    /// Asked without the connection on which the branch was worked on: it is prepared already, or never will be.
    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        let mut connection = self.inner.pool.acquire().await?;
        if self.is_prepared(&mut connection, branch).await? {
            return Ok(Vote::Yes);
        }
        Ok(Vote::No("nothing is prepared, and nobody is at work on it here".to_owned()))
    }

    async fn commit(&self, branch: &Branch) -> Result<Answer, BoxError> {
        let mut connection = self.inner.pool.acquire().await?;
        let commit = AssertSqlSafe(format!("COMMIT PREPARED {}", sql::literal(branch.as_str())));
        match sqlx::raw_sql(commit).execute(&mut *connection).await {
            Ok(_) => return Ok(Answer::Done),
            Err(error) if sql::is(&error, sql::UNDEFINED_OBJECT) => {}
            Err(error) => return Err(error.into()),
        }
        // It is not prepared. What was committed has left its row, and what somebody else rolled back has not.
        let row = sqlx::query(sql::ROW).bind(branch.as_str()).fetch_optional(&mut *connection).await?;
        match row {
            Some(row) if row.try_get::<bool, _>(0)? => Ok(Answer::RolledBack),
            Some(_) => Ok(Answer::Done),
            None => Ok(Answer::RolledBack),
        }
    }

    async fn rollback(&self, branch: &Branch) -> Result<Answer, BoxError> {
        let mut connection = self.inner.pool.acquire().await?;
        let rollback = AssertSqlSafe(format!("ROLLBACK PREPARED {}", sql::literal(branch.as_str())));
        match sqlx::raw_sql(rollback).execute(&mut *connection).await {
            Ok(_) => return Ok(Answer::Done),
            Err(error) if sql::is(&error, sql::UNDEFINED_OBJECT) => {}
            Err(error) => return Err(error.into()),
        }
        // It is not prepared, and must not be later: the tombstone waits for an open transaction that has written the row,
        // and not for long, since that one may wait to be prepared. Then the rollback is asked again.
        let mut tombstone = connection.begin().await?;
        sqlx::raw_sql(sql::LOCK_TIMEOUT).execute(&mut *tombstone).await?;
        sqlx::query(sql::TOMBSTONE).bind(branch.as_str()).execute(&mut *tombstone).await?;
        let row = sqlx::query(sql::ROW).bind(branch.as_str()).fetch_one(&mut *tombstone).await?;
        let is_tombstone = row.try_get::<bool, _>(0)?;
        tombstone.commit().await?;
        Ok(if is_tombstone { Answer::Done } else { Answer::Committed })
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        let rows = sqlx::query(sql::IN_DOUBT).bind(prefix).fetch_all(&self.inner.pool).await?;
        let texts = rows.iter().map(|row| row.try_get::<String, _>(0));
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        // Whatever is no branch is somebody else's.
        Ok(texts.into_iter().filter_map(|text| Branch::parse(text).ok()).collect())
    }

    async fn prune(&self, prefix: &str, older_than: Duration) -> Result<(), BoxError> {
        let seconds = older_than.as_secs_f64();
        sqlx::query(sql::PRUNE).bind(prefix).bind(seconds).execute(&self.inner.pool).await?;
        Ok(())
    }
}

impl fmt::Debug for PostgresParticipant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresParticipant").field(&self.inner.name).finish()
    }
}
