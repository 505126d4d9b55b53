//! A branch in progress: a connection in a transaction, until it is prepared.
//!
//! Follows [PostgreSQL, `PREPARE TRANSACTION`](https://www.postgresql.org/docs/current/sql-prepare-transaction.html).
//! On an aborted transaction the statement returns no error and prepares nothing, so that each prepare is checked in
//! `pg_prepared_xacts`.

use std::fmt;

use async_trait::async_trait;
use otel_sqlx::{PgConnection, PoolConnection};
use sqlx::{AssertSqlSafe, Postgres};
use tokio::sync::Mutex;

use super::{PostgresParticipant, PostgresParticipantError, sql};
use crate::error::BoxError;
use crate::two_phase::participant::{Acknowledgement, Branch, Participant, Vote};

/// A database transaction on its own connection, which is prepared with the two-phase commit to which
/// [`Transaction::with`](crate::two_phase::Transaction::with) adds it. Dropping it before rolls it back.
pub struct PostgresBranch {
    participant: PostgresParticipant,
    branch: Branch,
    open: Mutex<Open>,
}

struct Open {
    connection: PoolConnection<Postgres>,
    /// True if the connection is in a transaction, or may be.
    in_transaction: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.in_transaction {
            // Closed, because the pool must not reuse a connection inside a transaction. A prepare in flight still
            // completes on the server.
            self.connection.close_on_drop();
        }
    }
}

impl PostgresBranch {
    pub(super) async fn begin(
        participant: &PostgresParticipant,
        branch: Branch,
    ) -> Result<Self, PostgresParticipantError> {
        let connection = participant.inner.pool.acquire().await?;
        let mut open = Open { connection, in_transaction: true };
        // `SET LOCAL` ends with the transaction, so that the prepare can check that it is still the same one.
        let begin = format!("BEGIN; SET LOCAL otel_saga.branch = {}", sql::literal(branch.as_str()));
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *open.connection).await?;
        Ok(Self { participant: participant.clone(), branch, open: Mutex::new(open) })
    }

    /// Returns the connection for the work of the branch, an executor of sqlx. The transaction on it must not be ended.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.open.get_mut().connection
    }
}

impl Open {
    /// Turns an error into a vote if the server rolled the transaction back; otherwise returns it, because the
    /// outcome is unknown.
    async fn refused(&mut self, error: sqlx::Error) -> Result<Vote, BoxError> {
        if !sql::is_rolled_back(&error) {
            return Err(error.into());
        }
        self.roll_back().await?;
        Ok(Vote::No(error.to_string()))
    }

    async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("ROLLBACK").execute(&mut *self.connection).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Commits the transaction. The caller has run a statement in it before, which fails if the transaction is
    /// aborted; `COMMIT` would then roll back without an error.
    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("COMMIT").execute(&mut *self.connection).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Ends a transaction that has written nothing, or that is no longer the branch's, and returns the vote. Returns
    /// `None` if it can be prepared.
    async fn end_read_only(&mut self, branch: &Branch) -> Result<Option<Vote>, BoxError> {
        let written = sqlx::query_as(sql::HAS_WRITTEN).bind(branch.as_str());
        match written.fetch_one(&mut *self.connection).await {
            Ok((Some(true), true)) => Ok(None),
            Ok((Some(false) | None, _)) => Ok(Some(Vote::No(
                "the transaction was ended on its connection, or is another one".to_owned(),
            ))),
            Ok((Some(true), false)) => match self.commit().await {
                Ok(()) => Ok(Some(Vote::ReadOnly)),
                Err(error) => self.refused(error).await.map(Some),
            },
            Err(error) => self.refused(error).await.map(Some),
        }
    }

    async fn write_row(&mut self, branch: &Branch) -> Result<(), sqlx::Error> {
        sqlx::query(sql::BRANCH).bind(branch.as_str()).execute(&mut *self.connection).await?;
        Ok(())
    }
}

#[async_trait]
impl Participant for PostgresBranch {
    fn name(&self) -> &str {
        &self.participant.inner.name
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        let mut open = self.open.lock().await;
        if !open.in_transaction {
            return self.participant.prepare(branch).await;
        }
        if let Some(vote) = open.end_read_only(branch).await? {
            return Ok(vote);
        }
        if let Err(error) = open.write_row(branch).await {
            return open.refused(error).await;
        }
        let prepare = AssertSqlSafe(format!("PREPARE TRANSACTION {}", sql::literal(branch.as_str())));
        if let Err(error) = sqlx::raw_sql(prepare).execute(&mut *open.connection).await {
            return open.refused(error).await;
        }
        open.in_transaction = false;
        if self.participant.is_prepared(&mut open.connection, branch).await? {
            return Ok(Vote::Yes);
        }
        Ok(Vote::No("the database had aborted the transaction, and has prepared nothing".to_owned()))
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.participant.commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.participant.rollback(branch).await
    }

    async fn commit_in_one_phase(&self, branch: &Branch) -> Result<Vote, BoxError> {
        let mut open = self.open.lock().await;
        if !open.in_transaction {
            return Err("the branch has ended".into());
        }
        if let Some(vote) = open.end_read_only(branch).await? {
            return Ok(vote);
        }
        // The row shows a later rollback that the branch is committed, if the reply to this commit is lost. Writing
        // it also shows that the transaction is not aborted.
        if let Err(error) = open.write_row(branch).await {
            return open.refused(error).await;
        }
        match open.commit().await {
            Ok(()) => Ok(Vote::Yes),
            Err(error) => open.refused(error).await,
        }
    }
}

impl fmt::Debug for PostgresBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresBranch").field(&self.branch).finish()
    }
}
