//! Connections under sqlx's names: one of a pool, and any one, which queries run on.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_core::future::BoxFuture;
use opentelemetry::Context;
use otel_database::{ConnectionUse, DatabaseOperation, Options};
use sqlx::{Connection as _, Error, SqlSafeStr};
use sqlx_core::transaction::TransactionManager as _;

use crate::client::Client;
use crate::database::InstrumentedDatabase;
use crate::transaction::Transaction;

/// An instrumented connection, in place of [`sqlx::Connection`] of a database. `&mut Connection` is a [`sqlx::Executor`].
pub struct Connection<DB: InstrumentedDatabase> {
    pub(crate) raw: RawConnection<DB>,
    pub(crate) client: Client,
    /// The wait for this connection, until an operation has shown it.
    pub(crate) waited: Option<Duration>,
}

/// A connection of sqlx.
pub(crate) enum RawConnection<DB: InstrumentedDatabase> {
    Own(DB::Connection),
    Pooled(sqlx::pool::PoolConnection<DB>),
}

impl<DB: InstrumentedDatabase> RawConnection<DB> {
    #[inline]
    pub(crate) fn get(&self) -> &DB::Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut DB::Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }
}

impl<DB: InstrumentedDatabase> Connection<DB> {
    /// Instruments a connection with the facts of its configuration, which the connection does not show.
    #[must_use]
    pub fn new(
        connection: DB::Connection,
        connect_options: &<DB::Connection as sqlx::Connection>::Options,
        options: Options,
    ) -> Self {
        let client = Client::new::<DB>(connect_options, options);
        Self { raw: RawConnection::Own(connection), client, waited: None }
    }

    /// Opens a connection, as [`sqlx::Connection::connect`] does, with the default [`Options`].
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(&url.parse()?).await
    }

    /// Opens a connection, as [`sqlx::Connection::connect_with`] does, with the default [`Options`].
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn connect_with(
        connect_options: &<DB::Connection as sqlx::Connection>::Options,
    ) -> Result<Self, Error> {
        let connection = DB::Connection::connect_with(connect_options).await?;
        Ok(Self::new(connection, connect_options, Options::new()))
    }

    /// Begins a transaction, or a savepoint inside of one. It is a span, and so are its end by
    /// [`commit`](Transaction::commit), [`rollback`](Transaction::rollback) or drop.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, Error> {
        Transaction::begin(self.into(), None).await
    }

    /// Begins a transaction by this statement.
    ///
    /// # Errors
    /// Those of sqlx, among them [`Error::InvalidSavePointStatement`] inside of a transaction.
    pub async fn begin_with(&mut self, statement: impl SqlSafeStr) -> Result<Transaction<'_, DB>, Error> {
        Transaction::begin(self.into(), Some(statement.into_sql_str())).await
    }

    /// Returns true inside of a transaction.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        DB::TransactionManager::get_transaction_depth(self.raw.get()) > 0
    }

    /// Runs `callback` in a transaction, which is committed if it succeeds and rolled back if it fails.
    ///
    /// # Errors
    /// The error of the callback, or one of sqlx.
    pub async fn transaction<'a, F, R, E>(&'a mut self, callback: F) -> Result<R, E>
    where
        for<'c> F: FnOnce(&'c mut Transaction<'_, DB>) -> BoxFuture<'c, Result<R, E>> + 'a + Send + Sync,
        R: Send,
        E: From<Error> + Send,
    {
        let mut transaction = self.begin().await?;
        match callback(&mut transaction).await {
            Ok(output) => {
                transaction.commit().await?;
                Ok(output)
            }
            Err(error) => {
                transaction.rollback().await?;
                Err(error)
            }
        }
    }

    /// Checks the connection. It is no operation on data, and has no span.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.raw.get_mut().ping().await
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn close(self) -> Result<(), Error> {
        match self.raw {
            RawConnection::Own(connection) => connection.close().await,
            RawConnection::Pooled(connection) => connection.close().await,
        }
    }

    /// Returns the connection of sqlx. Work that is done with it is not recorded.
    #[must_use]
    pub fn inner(&self) -> &DB::Connection {
        self.raw.get()
    }

    /// Returns the connection of sqlx, for what this type does not offer: `COPY`, locks, cached statements. Work that is
    /// done with it is not recorded.
    pub fn inner_mut(&mut self) -> &mut DB::Connection {
        self.raw.get_mut()
    }

    /// Starts a command of sqlx, which shows the wait for this connection.
    pub(crate) fn start_command(&mut self, text: &str, parent: &Context) -> DatabaseOperation {
        let operation = self.client.start_command(text, parent);
        show_wait(&operation, &mut self.waited);
        operation
    }
}

/// Records the wait for a connection on the first operation of it.
pub(crate) fn show_wait(operation: &DatabaseOperation, waited: &mut Option<Duration>) {
    if let Some(waited) = waited.take() {
        operation.record_connection_wait(waited);
    }
}

impl<DB: InstrumentedDatabase> fmt::Debug for Connection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("system", &DB::SYSTEM).finish_non_exhaustive()
    }
}

/// An instrumented connection of a pool, in place of [`sqlx::pool::PoolConnection`]. It dereferences to [`Connection`], so
/// that `&mut *connection` is a [`sqlx::Executor`].
pub struct PoolConnection<DB: InstrumentedDatabase> {
    connection: Connection<DB>,
    usage: ConnectionUse,
}

impl<DB: InstrumentedDatabase> PoolConnection<DB> {
    pub(crate) fn new(connection: Connection<DB>, usage: ConnectionUse) -> Self {
        Self { connection, usage }
    }

    /// Closes the connection in place of returning it to its pool.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn close(self) -> Result<(), Error> {
        self.connection.close().await
    }

    /// Closes the connection when it is dropped.
    pub fn close_on_drop(&mut self) {
        if let RawConnection::Pooled(connection) = &mut self.connection.raw {
            connection.close_on_drop();
        }
    }

    /// Takes the connection out of its pool, which may open another one in its place.
    #[must_use]
    pub fn detach(self) -> Connection<DB> {
        drop(self.usage);
        let Connection { raw, client, waited } = self.connection;
        let raw = match raw {
            RawConnection::Pooled(connection) => RawConnection::Own(connection.detach()),
            own @ RawConnection::Own(_) => own,
        };
        Connection { raw, client, waited }
    }

    /// Takes the connection out of its pool, which keeps counting it.
    #[must_use]
    pub fn leak(self) -> Connection<DB> {
        drop(self.usage);
        let Connection { raw, client, waited } = self.connection;
        let raw = match raw {
            RawConnection::Pooled(connection) => RawConnection::Own(connection.leak()),
            own @ RawConnection::Own(_) => own,
        };
        Connection { raw, client, waited }
    }
}

impl<DB: InstrumentedDatabase> Deref for PoolConnection<DB> {
    type Target = Connection<DB>;

    fn deref(&self) -> &Connection<DB> {
        &self.connection
    }
}

impl<DB: InstrumentedDatabase> DerefMut for PoolConnection<DB> {
    fn deref_mut(&mut self) -> &mut Connection<DB> {
        &mut self.connection
    }
}

impl<DB: InstrumentedDatabase> fmt::Debug for PoolConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolConnection").field("system", &DB::SYSTEM).finish_non_exhaustive()
    }
}
