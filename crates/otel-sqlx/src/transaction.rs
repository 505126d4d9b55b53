//! A transaction or savepoint under sqlx's name. Its begin and its end are spans, also if it is dropped.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/).

use std::fmt;
use std::ops::{Deref, DerefMut};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_database::{DatabaseOperation, DatabaseOutcome};
use sqlx::{Error, SqlStr};
use sqlx_core::transaction::{
    TransactionManager as _, begin_ansi_transaction_sql, commit_ansi_transaction_sql,
    rollback_ansi_transaction_sql,
};

use crate::connection::{Connection, PoolConnection};
use crate::database::InstrumentedDatabase;
use crate::outcome;

/// An instrumented transaction or savepoint, in place of [`sqlx::Transaction`]. It dereferences to [`Connection`], so that
/// `&mut *transaction` is a [`sqlx::Executor`].
///
/// A transaction that is neither committed nor rolled back is rolled back when it is dropped, as in sqlx: the rollback is
/// queued, and its span covers that alone.
pub struct Transaction<'c, DB: InstrumentedDatabase> {
    connection: HeldConnection<'c, DB>,
    is_open: bool,
    /// The context in which the transaction began, for the rollback of one that is dropped without a context.
    context: Context,
}

/// The connection that a transaction runs on.
pub(crate) enum HeldConnection<'c, DB: InstrumentedDatabase> {
    Borrowed(&'c mut Connection<DB>),
    Pooled(PoolConnection<DB>),
}

impl<'c, DB: InstrumentedDatabase> From<&'c mut Connection<DB>> for HeldConnection<'c, DB> {
    fn from(connection: &'c mut Connection<DB>) -> Self {
        Self::Borrowed(connection)
    }
}

impl<'c, DB: InstrumentedDatabase> Transaction<'c, DB> {
    pub(crate) async fn begin(
        mut connection: HeldConnection<'c, DB>,
        statement: Option<SqlStr>,
    ) -> Result<Self, Error> {
        let current = Context::current();
        let depth = connection.depth();
        let text = statement.clone().unwrap_or_else(|| begin_ansi_transaction_sql(depth));
        let operation = connection.get_mut().start_command(text.as_str(), &current);
        Self::begin_in(operation, connection, statement).await
    }

    /// Begins a transaction by an operation that was started before, which may have waited for the connection.
    pub(crate) async fn begin_in(
        operation: DatabaseOperation,
        connection: HeldConnection<'c, DB>,
        statement: Option<SqlStr>,
    ) -> Result<Self, Error> {
        // Open from here on: a begin that is dropped may have reached the database.
        let mut transaction = Self { connection, is_open: true, context: Context::current() };
        let begin = DB::TransactionManager::begin(transaction.connection.get_mut().raw.get_mut(), statement);
        operation.run_with(begin, |_, result| outcome::of_result::<DB, _>(result)).await?;
        Ok(transaction)
    }

    /// Commits the transaction, or releases the savepoint.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn commit(mut self) -> Result<(), Error> {
        let operation = self.start_end(commit_ansi_transaction_sql);
        let commit = DB::TransactionManager::commit(self.connection.get_mut().raw.get_mut());
        run_end::<DB>(operation, commit).await?;
        self.is_open = false;
        Ok(())
    }

    /// Rolls the transaction back, or returns to the savepoint.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn rollback(mut self) -> Result<(), Error> {
        let operation = self.start_end(rollback_ansi_transaction_sql);
        let rollback = DB::TransactionManager::rollback(self.connection.get_mut().raw.get_mut());
        run_end::<DB>(operation, rollback).await?;
        self.is_open = false;
        Ok(())
    }

    /// Starts the end of the transaction. Outside of a transaction sqlx does nothing, and there is no operation.
    fn start_end(&mut self, text: fn(usize) -> SqlStr) -> Option<DatabaseOperation> {
        let depth = self.connection.depth();
        let current = Context::current();
        let parent = if current.has_active_span() { &current } else { &self.context };
        (depth > 0).then(|| self.connection.get_mut().start_command(text(depth).as_str(), parent))
    }
}

async fn run_end<DB: InstrumentedDatabase>(
    operation: Option<DatabaseOperation>,
    end: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    match operation {
        Some(operation) => operation.run_with(end, |_, result| outcome::of_result::<DB, _>(result)).await,
        None => end.await,
    }
}

impl<DB: InstrumentedDatabase> HeldConnection<'_, DB> {
    fn get(&self) -> &Connection<DB> {
        match self {
            Self::Borrowed(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }

    fn get_mut(&mut self) -> &mut Connection<DB> {
        match self {
            Self::Borrowed(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }

    fn depth(&self) -> usize {
        DB::TransactionManager::get_transaction_depth(self.get().raw.get())
    }
}

impl<DB: InstrumentedDatabase> Drop for Transaction<'_, DB> {
    fn drop(&mut self) {
        if self.is_open {
            let operation = self.start_end(rollback_ansi_transaction_sql);
            DB::TransactionManager::start_rollback(self.connection.get_mut().raw.get_mut());
            if let Some(operation) = operation {
                operation.finish(&DatabaseOutcome::ok());
            }
        }
    }
}

impl<DB: InstrumentedDatabase> Deref for Transaction<'_, DB> {
    type Target = Connection<DB>;

    fn deref(&self) -> &Connection<DB> {
        self.connection.get()
    }
}

impl<DB: InstrumentedDatabase> DerefMut for Transaction<'_, DB> {
    fn deref_mut(&mut self) -> &mut Connection<DB> {
        self.connection.get_mut()
    }
}

impl<DB: InstrumentedDatabase> fmt::Debug for Transaction<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}
