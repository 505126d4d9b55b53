//! A pool under sqlx's name, and the waits for its connections.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-metrics/#connection-pools).

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::Context;
use otel_database::{DatabaseOperation, ObservedPool, Options, PoolMetrics, PoolSnapshot};
use sqlx::pool::{CloseEvent, PoolOptions};
use sqlx::{Error, SqlSafeStr, SqlStr};

use crate::client::Client;
use crate::connection::{Connection, PoolConnection, RawConnection};
use crate::database::InstrumentedDatabase;
use crate::outcome;
use crate::transaction::{HeldConnection, Transaction};

/// An instrumented pool, in place of [`sqlx::Pool`]. `&Pool` is a [`sqlx::Executor`]. Cloning is cheap.
pub struct Pool<DB: InstrumentedDatabase> {
    shared: Arc<Shared<DB>>,
}

struct Shared<DB: InstrumentedDatabase> {
    pool: Arc<RawPool<DB>>,
    client: Client,
    metrics: PoolMetrics,
}

/// The pool of sqlx, whose connections are counted at each collection of metrics.
struct RawPool<DB: InstrumentedDatabase>(sqlx::Pool<DB>);

impl<DB: InstrumentedDatabase> ObservedPool for RawPool<DB> {
    fn snapshot(&self) -> PoolSnapshot {
        let (size, idle) = (u64::from(self.0.size()), self.0.num_idle() as u64);
        let max = u64::from(self.0.options().get_max_connections());
        PoolSnapshot::new(idle, size.saturating_sub(idle)).with_limits(Some(max), None, None)
    }
}

impl<DB: InstrumentedDatabase> Pool<DB> {
    /// Instruments a pool.
    #[must_use]
    pub fn new(pool: sqlx::Pool<DB>, options: Options) -> Self {
        let client = Client::new::<DB>(&pool.connect_options(), options);
        let metrics = client.pool_metrics();
        let pool = Arc::new(RawPool(pool));
        let observed: Weak<RawPool<DB>> = Arc::downgrade(&pool);
        metrics.observe(observed);
        Self { shared: Arc::new(Shared { pool, client, metrics }) }
    }

    /// Opens a pool, as [`sqlx::Pool::connect`] does, with the default [`Options`]. For other options of the pool, instrument
    /// that of [`PoolOptions`] by [`new`](Self::new) or `into`.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Ok(sqlx::Pool::connect(url).await?.into())
    }

    /// Opens a pool, as [`sqlx::Pool::connect_with`] does, with the default [`Options`].
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn connect_with(
        connect_options: <DB::Connection as sqlx::Connection>::Options,
    ) -> Result<Self, Error> {
        Ok(sqlx::Pool::connect_with(connect_options).await?.into())
    }

    /// Creates a pool that opens its first connection when it is needed, with the default [`Options`].
    ///
    /// # Errors
    /// Those of sqlx, for an invalid URL.
    pub fn connect_lazy(url: &str) -> Result<Self, Error> {
        Ok(sqlx::Pool::connect_lazy(url)?.into())
    }

    /// Creates a pool that opens its first connection when it is needed, with the default [`Options`].
    #[must_use]
    pub fn connect_lazy_with(connect_options: <DB::Connection as sqlx::Connection>::Options) -> Self {
        sqlx::Pool::connect_lazy_with(connect_options).into()
    }

    /// Waits for a connection. The wait is measured; if it is long, the first operation on the connection has an event of it.
    ///
    /// # Errors
    /// Those of sqlx, among them [`Error::PoolTimedOut`].
    pub fn acquire(&self) -> impl Future<Output = Result<PoolConnection<DB>, Error>> + Send + 'static {
        let pool = self.clone();
        async move {
            let (connection, waited) = pool.acquire_in(None).await?;
            Ok(pool.instrument(connection, Some(waited)))
        }
    }

    /// Returns a connection if one is idle.
    #[must_use]
    pub fn try_acquire(&self) -> Option<PoolConnection<DB>> {
        Some(self.instrument(self.inner().try_acquire()?, None))
    }

    /// Begins a transaction. The wait for its connection is a part of its span.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn begin(&self) -> Result<Transaction<'static, DB>, Error> {
        self.begin_by(None).await
    }

    /// Begins a transaction by this statement.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn begin_with(&self, statement: impl SqlSafeStr) -> Result<Transaction<'static, DB>, Error> {
        self.begin_by(Some(statement.into_sql_str())).await
    }

    /// Begins a transaction if a connection is idle.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn try_begin(&self) -> Result<Option<Transaction<'static, DB>>, Error> {
        match self.try_acquire() {
            Some(connection) => Transaction::begin(HeldConnection::Pooled(connection), None).await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins a transaction by this statement if a connection is idle.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn try_begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> Result<Option<Transaction<'static, DB>>, Error> {
        let statement = Some(statement.into_sql_str());
        match self.try_acquire() {
            Some(connection) => {
                Transaction::begin(HeldConnection::Pooled(connection), statement).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn begin_by(&self, statement: Option<SqlStr>) -> Result<Transaction<'static, DB>, Error> {
        let text = statement.as_ref().map_or("BEGIN", SqlStr::as_str);
        let mut operation = self.client().start_command(text, &Context::current());
        let connection = self.acquire_for(&mut operation).await?;
        let connection = HeldConnection::Pooled(self.instrument(connection, None));
        Transaction::begin_in(operation, connection, statement).await
    }

    /// Closes the pool, and waits until all its connections are closed.
    pub fn close(&self) -> impl Future<Output = ()> + '_ {
        self.inner().close()
    }

    /// Returns true once the pool is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner().is_closed()
    }

    /// Returns a future that resolves when the pool is closed.
    #[must_use]
    pub fn close_event(&self) -> CloseEvent {
        self.inner().close_event()
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.inner().size()
    }

    /// Returns the number of idle connections.
    #[must_use]
    pub fn num_idle(&self) -> usize {
        self.inner().num_idle()
    }

    /// Returns the options of the connections.
    #[must_use]
    pub fn connect_options(&self) -> Arc<<DB::Connection as sqlx::Connection>::Options> {
        self.inner().connect_options()
    }

    /// Sets the options of new connections. The attributes of spans and metrics stay those of the first ones.
    pub fn set_connect_options(&self, connect_options: <DB::Connection as sqlx::Connection>::Options) {
        self.inner().set_connect_options(connect_options);
    }

    /// Returns the options of the pool.
    #[must_use]
    pub fn options(&self) -> &PoolOptions<DB> {
        self.inner().options()
    }

    /// Returns the pool of sqlx, for what wants one, such as migrations. Work that is done with it is not recorded.
    #[must_use]
    pub fn inner(&self) -> &sqlx::Pool<DB> {
        &self.shared.pool.0
    }

    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    fn instrument(
        &self,
        connection: sqlx::pool::PoolConnection<DB>,
        waited: Option<Duration>,
    ) -> PoolConnection<DB> {
        let raw = RawConnection::Pooled(connection);
        let connection = Connection { raw, client: self.client().clone(), waited };
        PoolConnection::new(connection, self.shared.metrics.start_use())
    }

    /// Waits for a connection, as a part of an operation, which ends if there is none.
    pub(crate) async fn acquire_for(
        &self,
        operation: &mut DatabaseOperation,
    ) -> Result<sqlx::pool::PoolConnection<DB>, Error> {
        match self.acquire_in(Some(operation)).await {
            Ok((connection, waited)) => {
                operation.record_connection_wait(waited);
                Ok(connection)
            }
            Err(error) => {
                operation.end(&outcome::of_error::<DB>(&error));
                Err(error)
            }
        }
    }

    async fn acquire_in(
        &self,
        mut operation: Option<&mut DatabaseOperation>,
    ) -> Result<(sqlx::pool::PoolConnection<DB>, Duration), Error> {
        let wait = self.shared.metrics.start_wait();
        let mut acquiring = pin!(self.inner().acquire());
        let acquired = poll_fn(|cx| match &mut operation {
            Some(operation) => operation.inside(|| acquiring.as_mut().poll(cx)),
            None => acquiring.as_mut().poll(cx),
        });
        match acquired.await {
            Ok(connection) => Ok((connection, wait.finish())),
            Err(error) => {
                if matches!(error, Error::PoolTimedOut) {
                    wait.time_out();
                }
                Err(error)
            }
        }
    }

    pub(crate) fn start_use(&self) -> otel_database::ConnectionUse {
        self.shared.metrics.start_use()
    }
}

/// Instruments a pool with the default options.
impl<DB: InstrumentedDatabase> From<sqlx::Pool<DB>> for Pool<DB> {
    fn from(pool: sqlx::Pool<DB>) -> Self {
        Self::new(pool, Options::new())
    }
}

impl<DB: InstrumentedDatabase> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<DB: InstrumentedDatabase> fmt::Debug for Pool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(self.inner()).finish()
    }
}
