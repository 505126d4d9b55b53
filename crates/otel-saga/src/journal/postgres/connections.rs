//! The connections of the journal, and the classification of their errors: a failed statement either was not carried
//! out or has an unknown outcome.
//!
//! Follows `docs/sagas.md`, "Appends": an answer that was lost is unknown, not failed. sqlx's pool is not used,
//! because it waits silently for an unavailable server until its own time-out, and its error does not contain the
//! cause.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use otel_sqlx::{Connector, PgConnection};
use sqlx::postgres::{PgArguments, PgDatabaseError, PgRow, PgSeverity};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::journal::JournalError;

pub(super) type Statement<'q> = Query<'q, sqlx::Postgres, PgArguments>;

/// Added to the server's `statement_timeout` on the client, so that the reply to a statement that ends in time
/// arrives.
const ANSWER: Duration = Duration::from_secs(2);

pub(super) struct Connections {
    connector: Connector<Postgres>,
    /// The statement that sets the session's settings.
    settings: String,
    limit: Duration,
    idle: Mutex<Vec<PgConnection>>,
    places: Semaphore,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The error of a statement.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("no connection within {0:?}")]
    NoConnection(Duration),
    #[error("no connection")]
    Refused(#[source] sqlx::Error),
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error(transparent)]
    Sql(sqlx::Error),
}

impl Fault {
    /// Returns the server's error code, if the server reported that the statement was not carried out.
    pub(super) fn code(&self) -> Option<&str> {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return None };
        let error = error.try_downcast_ref::<PgDatabaseError>()?;
        // A session that is terminated (severity FATAL) may have committed before, so that its code proves nothing.
        matches!(error.severity(), PgSeverity::Error).then(|| error.code())
    }

    /// Converts the error for one of the jobs that share it.
    pub(super) fn shared(self: &Arc<Self>) -> JournalError {
        let source = Arc::clone(self).into();
        if self.is_unknown() { JournalError::Unknown(source) } else { JournalError::Failed(source) }
    }

    fn is_unknown(&self) -> bool {
        match self {
            Self::NoConnection(_) | Self::Refused(_) => false,
            Self::NoAnswer(_) => true,
            // Without a server code the statement may have been carried out. This includes errors of sqlx: encoding
            // fails before anything is sent, but decoding fails afterwards.
            Self::Sql(_) => self.code().is_none(),
        }
    }
}

impl From<Fault> for JournalError {
    fn from(fault: Fault) -> Self {
        if fault.is_unknown() { Self::Unknown(fault.into()) } else { Self::Failed(fault.into()) }
    }
}

impl Connections {
    pub(super) fn new(
        connector: Connector<Postgres>,
        settings: String,
        limit: Duration,
        places: usize,
    ) -> Self {
        Self { connector, settings, limit, idle: Mutex::default(), places: Semaphore::new(places) }
    }

    /// Returns further connections to the same journal, none of which is open yet.
    pub(super) fn separate(&self, places: usize) -> Self {
        Self::new(self.connector.clone(), self.settings.clone(), self.limit, places)
    }

    /// Opens a connection outside of the idle ones.
    pub(super) async fn connect(&self) -> Result<PgConnection, Fault> {
        let connecting = async {
            let mut connection = self.connector.connect().await?;
            // Not by the parameters of the connection, which a pooler refuses. It is a part of connecting, and not
            // recorded.
            sqlx::raw_sql(AssertSqlSafe(&*self.settings)).execute(connection.inner_mut()).await?;
            Ok(connection)
        };
        match timeout(self.limit, connecting).await {
            Ok(connected) => connected.map_err(Fault::Refused),
            Err(_) => Err(Fault::NoConnection(self.limit)),
        }
    }

    /// Runs an idempotent statement. If an idle connection turns out to be closed, the statement is repeated on a new
    /// one.
    pub(super) async fn repeatable<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, JournalError> {
        let place = self.place().await?;
        if let Some(mut connection) = self.take_idle() {
            match self.run(&mut connection, statement()).await {
                Ok(rows) => {
                    self.give_back(connection);
                    return Ok(rows);
                }
                Err(fault @ Fault::NoAnswer(_)) => return Err(fault.into()),
                Err(fault) if fault.code().is_some() => return Err(fault.into()),
                Err(_) => {}
            }
        }
        self.run_anew(statement(), place).await
    }

    /// Runs a statement at most once.
    pub(super) async fn once(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, JournalError> {
        let place = self.place().await?;
        let Some(mut connection) = self.take_idle() else { return self.run_anew(statement, place).await };
        let rows = self.run(&mut connection, statement).await?;
        self.give_back(connection);
        Ok(rows)
    }

    async fn run_anew(
        &self,
        statement: Statement<'_>,
        _place: SemaphorePermit<'_>,
    ) -> Result<Vec<PgRow>, JournalError> {
        let mut connection = self.connect().await?;
        let rows = self.run(&mut connection, statement).await?;
        self.give_back(connection);
        Ok(rows)
    }

    /// Runs a statement on this connection. Drop the connection after an error.
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, Fault> {
        let limit = self.limit + ANSWER;
        // Fetches all rows: the commit follows the last row, and its outcome is known only then.
        let done = match timeout(limit, statement.fetch_all(connection)).await {
            Ok(done) => done.map_err(Fault::Sql),
            Err(_) => Err(Fault::NoAnswer(limit)),
        };
        if let Err(fault) = &done
            && fault.code().is_none()
        {
            // The idle connections are as old as this one: if the server is gone, all of them would fail.
            self.idle().clear();
        }
        done
    }

    pub(super) fn give_back(&self, connection: PgConnection) {
        self.idle().push(connection);
    }

    fn take_idle(&self) -> Option<PgConnection> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        // A poisoned lock is safe to use: no code below it panics halfway through a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, JournalError> {
        match timeout(self.limit, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Fault::NoConnection(self.limit).into()),
        }
    }
}
