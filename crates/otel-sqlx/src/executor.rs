//! sqlx's `Executor` for instrumented pools and connections: each call of it is one operation.
//!
//! Operations start when they are first polled. The methods call those of the driver, so that their behaviour stays the
//! driver's own.

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use otel_database::DatabaseOperation;
use sqlx::{Database, Describe, Either, Error, Execute, Executor, SqlStr};

use crate::connection::{Connection, show_wait};
use crate::database::InstrumentedDatabase;
use crate::outcome;
use crate::pool::Pool;
use crate::query::OwnedQuery;
use crate::row_stream::{RowStream, RowsOf};

/// A method of a driver's executor that returns a future.
type Call<DB, T> =
    for<'x> fn(&'x mut <DB as Database>::Connection, OwnedQuery<DB>) -> BoxFuture<'x, Result<T, Error>>;

/// A method of a driver's executor that returns a stream.
type StreamCall<DB, T> =
    for<'x> fn(&'x mut <DB as Database>::Connection, OwnedQuery<DB>) -> BoxStream<'x, Result<T, Error>>;

/// A driver's preparation of a statement.
type PrepareCall<DB> = for<'x> fn(
    &'x mut <DB as Database>::Connection,
    SqlStr,
    &'x [<DB as Database>::TypeInfo],
) -> BoxFuture<'x, Result<<DB as Database>::Statement, Error>>;

/// A driver's description of a statement, by which the macros check queries.
type DescribeCall<DB> =
    for<'x> fn(&'x mut <DB as Database>::Connection, SqlStr) -> BoxFuture<'x, Result<Describe<DB>, Error>>;

/// The result of one of several queries, or a row of it.
type Step<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

fn one_row<T>(_: &T) -> u64 {
    1
}

fn optional_row<T>(row: &Option<T>) -> u64 {
    u64::from(row.is_some())
}

fn row_of_step<A, B>(step: &Either<A, B>) -> u64 {
    u64::from(step.is_right())
}

/// Runs the rest of an operation.
async fn finish<DB: InstrumentedDatabase, T>(
    mut operation: DatabaseOperation,
    call: BoxFuture<'_, Result<T, Error>>,
    rows_of: Option<RowsOf<T>>,
) -> Result<T, Error> {
    if rows_of.is_some() {
        operation.add_rows(0);
    }
    let ended = operation.run_with(call, |operation, result| {
        if let (Some(rows_of), Ok(value)) = (rows_of, result) {
            operation.add_rows(rows_of(value));
        }
        outcome::of_result::<DB, _>(result)
    });
    ended.await
}

impl<DB: InstrumentedDatabase> Connection<DB> {
    fn start(&mut self, query: &mut OwnedQuery<DB>) -> DatabaseOperation {
        let operation = self.client.start(query);
        show_wait(&operation, &mut self.waited);
        operation
    }

    fn run<'e, T: Send + 'e>(
        &'e mut self,
        mut query: OwnedQuery<DB>,
        call: Call<DB, T>,
        rows_of: Option<RowsOf<T>>,
    ) -> BoxFuture<'e, Result<T, Error>> {
        if self.client.is_idle() {
            return call(self.raw.get_mut(), query);
        }
        Box::pin(async move {
            let operation = self.start(&mut query);
            finish::<DB, T>(operation, call(self.raw.get_mut(), query), rows_of).await
        })
    }

    fn run_stream<'e, T: Send + 'e>(
        &'e mut self,
        mut query: OwnedQuery<DB>,
        call: StreamCall<DB, T>,
        rows_of: Option<RowsOf<T>>,
    ) -> BoxStream<'e, Result<T, Error>> {
        if self.client.is_idle() {
            return call(self.raw.get_mut(), query);
        }
        let started = async move {
            let operation = self.start(&mut query);
            RowStream::new::<DB>(call(self.raw.get_mut(), query), operation, rows_of)
        };
        futures_util::stream::once(started).flatten().boxed()
    }

    fn run_all<'e>(
        &'e mut self,
        query: OwnedQuery<DB>,
        call: StreamCall<DB, DB::Row>,
    ) -> BoxFuture<'e, Result<Vec<DB::Row>, Error>> {
        // As in the drivers, but the rows are counted as they come.
        Box::pin(self.run_stream(query, call, Some(one_row)).try_collect())
    }

    fn run_prepare<'e>(
        &'e mut self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
        call: PrepareCall<DB>,
    ) -> BoxFuture<'e, Result<DB::Statement, Error>> {
        if self.client.is_idle() {
            return call(self.raw.get_mut(), sql, parameters);
        }
        Box::pin(async move {
            let operation = self.client.start_prepare(sql.as_str());
            show_wait(&operation, &mut self.waited);
            finish::<DB, _>(operation, call(self.raw.get_mut(), sql, parameters), None).await
        })
    }

    fn run_describe<'e>(
        &'e mut self,
        sql: SqlStr,
        call: DescribeCall<DB>,
    ) -> BoxFuture<'e, Result<Describe<DB>, Error>> {
        call(self.raw.get_mut(), sql)
    }
}

impl<DB: InstrumentedDatabase> Pool<DB> {
    fn run<'e, T: Send + 'e>(
        &self,
        mut query: OwnedQuery<DB>,
        call: Call<DB, T>,
        rows_of: Option<RowsOf<T>>,
    ) -> BoxFuture<'e, Result<T, Error>> {
        let pool = self.clone();
        Box::pin(async move {
            if pool.client().is_idle() {
                return call(&mut *pool.inner().acquire().await?, query).await;
            }
            let mut operation = pool.client().start(&mut query);
            let mut connection = pool.acquire_for(&mut operation).await?;
            let _usage = pool.start_use();
            finish::<DB, T>(operation, call(&mut connection, query), rows_of).await
        })
    }

    fn run_all<'e>(
        &self,
        mut query: OwnedQuery<DB>,
        call: StreamCall<DB, DB::Row>,
    ) -> BoxFuture<'e, Result<Vec<DB::Row>, Error>> {
        let pool = self.clone();
        Box::pin(async move {
            if pool.client().is_idle() {
                return call(&mut *pool.inner().acquire().await?, query).try_collect().await;
            }
            let mut operation = pool.client().start(&mut query);
            let mut connection = pool.acquire_for(&mut operation).await?;
            let _usage = pool.start_use();
            RowStream::new::<DB>(call(&mut connection, query), operation, Some(one_row)).try_collect().await
        })
    }

    fn run_stream<'e, T: Send + 'e>(
        &self,
        mut query: OwnedQuery<DB>,
        call: StreamCall<DB, T>,
        rows_of: Option<RowsOf<T>>,
    ) -> BoxStream<'e, Result<T, Error>> {
        let pool = self.clone();
        Box::pin(async_stream::try_stream! {
            let mut operation = pool.client().start(&mut query);
            let mut connection = pool.acquire_for(&mut operation).await?;
            let _usage = pool.start_use();
            let mut rows = RowStream::new::<DB>(call(&mut connection, query), operation, rows_of);
            while let Some(row) = rows.try_next().await? {
                yield row;
            }
        })
    }

    fn run_prepare<'e>(
        &self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
        call: PrepareCall<DB>,
    ) -> BoxFuture<'e, Result<DB::Statement, Error>> {
        let pool = self.clone();
        Box::pin(async move {
            let mut operation = pool.client().start_prepare(sql.as_str());
            let mut connection = pool.acquire_for(&mut operation).await?;
            let _usage = pool.start_use();
            finish::<DB, _>(operation, call(&mut connection, sql, parameters), None).await
        })
    }

    fn run_describe<'e>(
        &self,
        sql: SqlStr,
        call: DescribeCall<DB>,
    ) -> BoxFuture<'e, Result<Describe<DB>, Error>> {
        let pool = self.inner().clone();
        Box::pin(async move { call(&mut *pool.acquire().await?, sql).await })
    }
}

/// Implements `Executor` for one type of one database. By a macro, because the bound that a generic implementation needs,
/// `for<'x> &'x mut DB::Connection: Executor<'x>`, overflows in generic code of applications.
macro_rules! executor {
    ($database:ty, $c:lifetime, $executor:ty) => {
        impl<$c> Executor<$c> for $executor {
            type Database = $database;

            fn execute<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<<$database as Database>::QueryResult, Error>>
            where
                $c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                self.run(OwnedQuery::new(query), |connection, query| connection.execute(query), None)
            }

            fn execute_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<<$database as Database>::QueryResult, Error>>
            where
                $c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                self.run_stream(
                    OwnedQuery::new(query),
                    |connection, query| connection.execute_many(query),
                    None,
                )
            }

            fn fetch<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<<$database as Database>::Row, Error>>
            where
                $c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                self.run_stream(
                    OwnedQuery::new(query),
                    |connection, query| connection.fetch(query),
                    Some(one_row),
                )
            }

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step<$database>, Error>>
            where
                $c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let call: StreamCall<$database, _> = |connection, query| connection.fetch_many(query);
                self.run_stream(OwnedQuery::new(query), call, Some(row_of_step))
            }

            fn fetch_all<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Vec<<$database as Database>::Row>, Error>>
            where
                $c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                self.run_all(OwnedQuery::new(query), |connection, query| connection.fetch(query))
            }

            fn fetch_one<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<<$database as Database>::Row, Error>>
            where
                $c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                self.run(
                    OwnedQuery::new(query),
                    |connection, query| connection.fetch_one(query),
                    Some(one_row),
                )
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<<$database as Database>::Row>, Error>>
            where
                $c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let call: Call<$database, _> = |connection, query| connection.fetch_optional(query);
                self.run(OwnedQuery::new(query), call, Some(optional_row))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as Database>::TypeInfo],
            ) -> BoxFuture<'e, Result<<$database as Database>::Statement, Error>>
            where
                $c: 'e,
            {
                self.run_prepare(sql, parameters, |connection, sql, parameters| {
                    connection.prepare_with(sql, parameters)
                })
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<$database>, Error>>
            where
                $c: 'e,
            {
                self.run_describe(sql, |connection, sql| connection.describe(sql))
            }
        }
    };
}

/// Implements `Executor` for the pool and the connections of a database.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
macro_rules! executors {
    ($database:ty) => {
        executor!($database, 'c, &'c mut Connection<$database>);
        executor!($database, 'p, &'_ Pool<$database>);
    };
}

#[cfg(feature = "mysql")]
executors!(sqlx::MySql);
#[cfg(feature = "postgres")]
executors!(sqlx::Postgres);
#[cfg(feature = "sqlite")]
executors!(sqlx::Sqlite);
