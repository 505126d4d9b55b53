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
use otel_sqlx::{Options, PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Row as _};

pub use self::branch::PostgresBranch;
use super::participant::{Acknowledgement, Branch, Participant, Vote};
use crate::error::BoxError;

/// A Postgres database as a participant. Cloning is cheap.
///
/// Prepared transactions are committed and rolled back in the same database by the same user, which Postgres
/// requires.
#[derive(Clone)]
pub struct PostgresParticipant {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    pool: PgPool,
}

/// The pool of a participant: that of sqlx, or an instrumented one of otel-sqlx.
#[derive(Clone, Debug)]
pub struct ParticipantPool(PgPool);

/// The statements on it are not recorded.
impl From<sqlx::PgPool> for ParticipantPool {
    fn from(pool: sqlx::PgPool) -> Self {
        Self(PgPool::new(pool, Options::without_recording()))
    }
}

/// The statements on it are recorded, those of the participant and those of the application.
impl From<PgPool> for ParticipantPool {
    fn from(pool: PgPool) -> Self {
        Self(pool)
    }
}

/// The error of a Postgres participant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresParticipantError {
    /// The server cannot prepare transactions: its setting `max_prepared_transactions` is 0, the default.
    #[error("`max_prepared_transactions` is 0: set it to what `max_connections` is, and restart the server")]
    NotPrepared,
    /// The participant's name is not valid in a branch.
    #[error(transparent)]
    Branch(#[from] super::BranchError),
    /// The database returned an error, or did not answer.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl PostgresParticipant {
    /// Connects the database of this pool as a participant of this name. Checks that transactions can be prepared,
    /// and creates the tables `twopc_branch` and `twopc_journal` if they do not exist. The pool needs one connection more than there are
    /// branches at a time, because commits use a connection of their own.
    ///
    /// # Errors
    ///
    /// See [`PostgresParticipantError`].
    pub async fn connect(
        name: impl Into<String>,
        pool: impl Into<ParticipantPool>,
    ) -> Result<Self, PostgresParticipantError> {
        let ParticipantPool(pool) = pool.into();
        let allowed: i32 = sqlx::query_scalar(sql::ALLOWED).fetch_one(&pool).await?;
        if allowed == 0 {
            return Err(PostgresParticipantError::NotPrepared);
        }
        sql::migrate(&pool).await?;
        Ok(Self { inner: Arc::new(Inner { name: name.into(), pool }) })
    }

    /// Begins this participant's branch of a transaction. The work on its connection is prepared with the
    /// transaction.
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

    /// Begins a branch whose coordinator is in another process, and whose identifier came with a request.
    ///
    /// # Errors
    ///
    /// See [`PostgresParticipantError`].
    pub async fn begin_branch(&self, branch: Branch) -> Result<PostgresBranch, PostgresParticipantError> {
        PostgresBranch::begin(self, branch).await
    }

    /// Returns true if the branch is prepared in this database.
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

    /// A call without the connection of the branch: the branch either is prepared already or never will be.
    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        let mut connection = self.inner.pool.acquire().await?;
        if self.is_prepared(&mut connection, branch).await? {
            return Ok(Vote::Yes);
        }
        Ok(Vote::No("nothing is prepared, and no connection of this process works on it".to_owned()))
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        let mut connection = self.inner.pool.acquire().await?;
        let commit = AssertSqlSafe(format!("COMMIT PREPARED {}", sql::literal(branch.as_str())));
        match sqlx::raw_sql(commit).execute(&mut *connection).await {
            Ok(_) => return Ok(Acknowledgement::Done),
            Err(error) if sql::is(&error, sql::UNDEFINED_OBJECT) => {}
            Err(error) => return Err(error.into()),
        }
        // The branch is not prepared. A committed branch has left its row; one that was rolled back by other means
        // has not.
        let row = sqlx::query(sql::ROW).bind(branch.as_str()).fetch_optional(&mut *connection).await?;
        match row {
            Some(row) if row.try_get::<bool, _>(0)? => Ok(Acknowledgement::RolledBack),
            Some(_) => Ok(Acknowledgement::Done),
            None => Ok(Acknowledgement::RolledBack),
        }
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        let mut connection = self.inner.pool.acquire().await?;
        let rollback = AssertSqlSafe(format!("ROLLBACK PREPARED {}", sql::literal(branch.as_str())));
        match sqlx::raw_sql(rollback).execute(&mut *connection).await {
            Ok(_) => return Ok(Acknowledgement::Done),
            Err(error) if sql::is(&error, sql::UNDEFINED_OBJECT) => {}
            Err(error) => return Err(error.into()),
        }
        // The branch is not prepared, and must not be later. The tombstone waits for an open transaction that has
        // written the row, but only briefly, because that transaction may itself wait for its prepare; the rollback
        // is then repeated.
        let mut tombstone = connection.begin().await?;
        sqlx::raw_sql(sql::LOCK_TIMEOUT).execute(&mut *tombstone).await?;
        sqlx::query(sql::TOMBSTONE).bind(branch.as_str()).execute(&mut *tombstone).await?;
        let row = sqlx::query(sql::ROW).bind(branch.as_str()).fetch_one(&mut *tombstone).await?;
        let is_tombstone = row.try_get::<bool, _>(0)?;
        tombstone.commit().await?;
        Ok(if is_tombstone { Acknowledgement::Done } else { Acknowledgement::Committed })
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        let rows = sqlx::query(sql::IN_DOUBT).bind(prefix).fetch_all(&self.inner.pool).await?;
        let texts = rows.iter().map(|row| row.try_get::<String, _>(0));
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        // Prepared transactions of other programs have other identifiers.
        Ok(texts.into_iter().filter_map(|text| Branch::parse(text).ok()).collect())
    }

    async fn is_committed(&self, branch: &Branch) -> Result<bool, BoxError> {
        // The row is written in the branch's transaction, so that it is visible only after the commit.
        let row = sqlx::query(sql::ROW).bind(branch.as_str()).fetch_optional(&self.inner.pool).await?;
        Ok(match row {
            Some(row) => !row.try_get::<bool, _>(0)?,
            None => false,
        })
    }

    async fn remember_journal(
        &self,
        coordinator: &str,
        journal: &str,
        replace: bool,
    ) -> Result<Option<String>, BoxError> {
        let remember = sqlx::query_scalar(sql::JOURNAL).bind(coordinator).bind(journal).bind(replace);
        Ok(Some(remember.fetch_one(&self.inner.pool).await?))
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
