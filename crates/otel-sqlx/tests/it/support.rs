//! A pool of SQLite in memory, with a table.

use std::time::Duration;

use otel_sqlx::{Options, SqlitePool};
use otel_testing::Recorder;
use sqlx::sqlite::SqlitePoolOptions;

pub(crate) fn defaults(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_returned_rows(true)
        // A machine that is busy must not decide if there is an event.
        .with_connection_wait_limit(Duration::from_secs(60))
}

/// Opens a bare pool of one connection with the table `users`, which has three rows.
pub(crate) async fn bare_pool() -> sqlx::SqlitePool {
    // Without the test of a connection it is had at once, so that a few polls reach the query.
    let options = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
    let options = options.acquire_timeout(Duration::from_secs(5));
    let pool = options.connect("sqlite::memory:").await.unwrap();
    let create = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
        INSERT INTO users VALUES (1, 'ana'), (2, 'bob'), (3, 'eva');";
    sqlx::raw_sql(create).execute(&pool).await.unwrap();
    // A connection returns to its pool on a task.
    while pool.num_idle() == 0 {
        tokio::task::yield_now().await;
    }
    pool
}

pub(crate) async fn pool_with(options: Options) -> SqlitePool {
    SqlitePool::new(bare_pool().await, options)
}

pub(crate) async fn pool(recorder: &Recorder) -> SqlitePool {
    pool_with(defaults(recorder)).await
}

/// Returns the value of an attribute of each span, in the order of their ends.
pub(crate) fn attributes(recorder: &Recorder, key: &str) -> Vec<Option<String>> {
    let value = |span: &opentelemetry_sdk::trace::SpanData| {
        span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
    };
    recorder.spans().iter().map(value).collect()
}

pub(crate) fn names(recorder: &Recorder) -> Vec<String> {
    recorder.spans().iter().map(|span| span.name.to_string()).collect()
}

pub(crate) const ROWS: &str = "db.response.returned_rows";
