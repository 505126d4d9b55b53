//! Connections that go away midway: ended by the server, and refused.

use otel_sqlx::PgPool;
use otel_testing::Recorder;
use sqlx::postgres::PgPoolOptions;

use crate::support::{attributes, defaults, postgres};

#[tokio::test]
async fn a_query_whose_connection_the_server_ends_fails_and_is_recorded_once() {
    let recorder = Recorder::new();
    let pool = postgres(&recorder, "restarts").await;
    let mut connection = pool.acquire().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await.unwrap();
    let running = tokio::spawn(async move {
        let slow = sqlx::query("SELECT pg_sleep(60) FROM pg_class").fetch_all(&mut *connection).await;
        let next = sqlx::query("SELECT oid FROM pg_class").fetch_all(&mut *connection).await;
        (slow.is_err(), next.is_err())
    });
    let active = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep(60)%' AND state = 'active'";
    loop {
        let active: i64 = sqlx::query_scalar(active).bind(pid).fetch_one(pool.inner()).await.unwrap();
        if active > 0 {
            break;
        }
    }
    sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(pool.inner()).await.unwrap();
    assert_eq!(running.await.unwrap(), (true, true));
    let errors = attributes(&recorder, "SELECT pg_class", "error.type");
    assert_eq!(errors.len(), 2, "{}", recorder.tree());
    // By what the server has said before it closed the connection, and by the closed connection.
    assert_eq!(errors[0].as_deref(), Some("57P01"));
    let closed = errors[1].as_deref().unwrap();
    assert!(["connection_closed", "connection_reset", "57P01"].contains(&closed), "{closed}");
    // The pool replaces the connection.
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    assert_eq!(attributes(&recorder, "SELECT", "error.type").last(), Some(&None));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_refused() {
    let recorder = Recorder::new();
    // A port that was free, and is closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = PgPoolOptions::new().acquire_timeout(std::time::Duration::from_secs(5));
    let lazy = options.connect_lazy(&format!("postgres://postgres@127.0.0.1:{port}/shop")).unwrap();
    let pool = PgPool::new(lazy, defaults(&recorder));
    sqlx::query("SELECT 1").execute(&pool).await.unwrap_err();
    pool.begin().await.unwrap_err();
    // sqlx tries again until its timeout, or reports the refusal at once.
    for name in ["SELECT", "BEGIN"] {
        let errors = attributes(&recorder, name, "error.type");
        let error = errors[0].as_deref().unwrap();
        assert!(["connection_refused", "pool_timeout"].contains(&error), "{error}");
    }
    assert_eq!(recorder.metric("db.client.connection.pending_requests").sum(), 0.0);
    recorder.assert_clean();
}
