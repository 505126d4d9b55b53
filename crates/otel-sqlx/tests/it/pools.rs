//! Pools: waits, an exhausted pool, the state of the pool in metrics.

use std::time::Duration;

use otel_sqlx::{Options, SqlitePool};
use otel_testing::{Point, Recorder};
use sqlx::Error;
use sqlx::sqlite::SqlitePoolOptions;

use crate::support::{attributes, defaults, names, pool};

async fn small_pool(options: Options, acquire_timeout: Duration) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(acquire_timeout);
    SqlitePool::new(pool.connect("sqlite::memory:").await.unwrap(), options)
}

#[tokio::test]
async fn an_exhausted_pool_is_a_timeout_and_an_error_of_the_query() {
    let recorder = Recorder::new();
    let pool = small_pool(defaults(&recorder), Duration::from_millis(20)).await;
    let held = pool.acquire().await.unwrap();
    assert!(matches!(sqlx::query("SELECT 1").fetch_one(&pool).await, Err(Error::PoolTimedOut)));
    assert!(matches!(pool.begin().await, Err(Error::PoolTimedOut)));
    assert!(matches!(pool.acquire().await, Err(Error::PoolTimedOut)));
    assert!(pool.try_acquire().is_none());
    assert_eq!(names(&recorder), ["SELECT", "BEGIN"]);
    assert_eq!(
        attributes(&recorder, "error.type"),
        [Some("pool_timeout".to_owned()), Some("pool_timeout".to_owned())]
    );
    let metric = |name: &str| recorder.metric(&format!("db.client.connection.{name}"));
    assert_eq!(metric("timeouts").sum(), 3.0);
    assert_eq!(metric("pending_requests").sum(), 0.0);
    assert_eq!(metric("wait_time").count(), 1, "a timeout is no wait that was over");
    drop(held);
    pool.close().await;
    assert!(matches!(sqlx::query("SELECT 1").execute(&pool).await, Err(Error::PoolClosed)));
    assert_eq!(attributes(&recorder, "error.type")[2].as_deref(), Some("pool_closed"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_long_wait_is_an_event_of_the_query_that_waited() {
    let recorder = Recorder::new();
    let options = defaults(&recorder).with_connection_wait_limit(Duration::ZERO);
    let pool = small_pool(options, Duration::from_secs(5)).await;
    let held = pool.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { sqlx::query("SELECT 1").execute(&pool).await }
    });
    let is_pending = || recorder.metric("db.client.connection.pending_requests").sum() == 1.0;
    while !is_pending() {
        tokio::task::yield_now().await;
    }
    drop(held);
    waiting.await.unwrap().unwrap();
    // The wait of an explicit `acquire` is shown by the first query on the connection, and by no further one.
    let mut connection = pool.acquire().await.unwrap();
    for _ in 0..2 {
        sqlx::query("SELECT 2").execute(&mut *connection).await.unwrap();
    }
    drop(connection);
    pool.begin().await.unwrap().commit().await.unwrap();
    let events: Vec<_> =
        recorder.spans().iter().map(|span| (span.name.to_string(), span.events.len())).collect();
    let expected = [("SELECT", 1), ("SELECT", 1), ("SELECT", 0), ("BEGIN", 1), ("COMMIT", 0)];
    assert_eq!(events, expected.map(|(name, events)| (name.to_owned(), events)));
    assert_eq!(recorder.spans()[0].events.events[0].name, "db.client.connection.wait");
}

#[tokio::test]
async fn the_state_of_the_pool_is_in_its_metrics() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let count = |state: &str| {
        let metric = recorder.metric("db.client.connection.count");
        let is = |point: &&Point| {
            point.attribute("db.client.connection.state").is_some_and(|value| value.as_str() == state)
        };
        metric.points().iter().find(is).map(Point::sum)
    };
    let connection = pool.acquire().await.unwrap();
    assert_eq!((count("used"), count("idle")), (Some(1.0), Some(0.0)));
    assert_eq!(recorder.metric("db.client.connection.max").sum(), 1.0);
    assert_eq!(recorder.metric("db.client.connection.use_time").points().len(), 0);
    drop(connection);
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    assert_eq!(recorder.metric("db.client.connection.use_time").count(), 2);
    assert_eq!(recorder.metric("db.client.connection.wait_time").count(), 2);
    let name = recorder.metric("db.client.connection.max").points()[0]
        .attribute("db.client.connection.pool.name")
        .cloned();
    assert_eq!(name.map(|name| name.to_string()).as_deref(), Some(":memory:"));
    assert_eq!((pool.size(), pool.options().get_max_connections(), pool.is_closed()), (1, 1, false));
}

#[tokio::test]
async fn without_an_sdk_everything_works_and_nothing_is_recorded() {
    let pool = small_pool(Options::new(), Duration::from_secs(5)).await;
    sqlx::query("CREATE TABLE t (a)").execute(&pool).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1), (2)").execute(&mut *transaction).await.unwrap();
    let rows = sqlx::query("SELECT a FROM t").fetch_all(&mut *transaction).await.unwrap();
    assert_eq!(rows.len(), 2);
    transaction.commit().await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(count, 2);
}
