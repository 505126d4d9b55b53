//! Begin, commit, rollback and savepoints are spans, also those of a transaction that is dropped.

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use otel_testing::Recorder;

use crate::support::{attributes, defaults, names, pool, pool_with};

const INSERT: &str = "INSERT INTO users (name) VALUES ('ida')";

async fn insert(connection: &mut otel_sqlx::SqliteConnection) {
    sqlx::query(INSERT).execute(connection).await.unwrap();
}

async fn users(pool: &otel_sqlx::SqlitePool) -> i64 {
    // By the bare pool, so that no span is recorded.
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool.inner()).await.unwrap()
}

#[tokio::test]
async fn a_transaction_is_committed() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut transaction = pool.begin().await.unwrap();
    insert(&mut transaction).await;
    assert!(transaction.is_in_transaction());
    transaction.commit().await.unwrap();
    assert_eq!(names(&recorder), ["BEGIN", "INSERT users", "COMMIT"]);
    assert_eq!(users(&pool).await, 4);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_transaction_is_rolled_back() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    insert(&mut transaction).await;
    transaction.rollback().await.unwrap();
    assert_eq!(names(&recorder), ["BEGIN", "INSERT users", "ROLLBACK"]);
    assert_eq!(users(&pool).await, 3);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_rolled_back_in_the_trace_of_its_begin() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let tracer = recorder.tracer_provider().tracer("app");
    let root = Context::new().with_span(tracer.start("request"));
    let mut transaction = {
        use opentelemetry::trace::FutureExt as _;
        pool.begin().with_context(root.clone()).await.unwrap()
    };
    insert(&mut transaction).await;
    drop(transaction);
    root.span().end();
    assert_eq!(users(&pool).await, 3);
    assert_eq!(names(&recorder)[..3], ["BEGIN", "INSERT users", "ROLLBACK"]);
    let rollback = recorder.span("ROLLBACK");
    assert_eq!(rollback.parent_span_id, root.span().span_context().span_id());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_savepoint_has_its_own_spans() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut connection = pool.acquire().await.unwrap();
    let mut outer = connection.begin().await.unwrap();
    for end in ["commit", "rollback", "drop"] {
        let mut inner = outer.begin().await.unwrap();
        insert(&mut inner).await;
        match end {
            "commit" => inner.commit().await.unwrap(),
            "rollback" => inner.rollback().await.unwrap(),
            _ => drop(inner),
        }
        sqlx::query("DELETE FROM users WHERE name = 'ida'").execute(&mut *outer).await.unwrap();
    }
    outer.commit().await.unwrap();
    let inner = |end: &str| {
        ["SAVEPOINT".to_owned(), "INSERT users".to_owned(), end.to_owned(), "DELETE users".to_owned()]
    };
    let expected = [
        vec!["BEGIN".to_owned()],
        ["RELEASE", "ROLLBACK TO", "ROLLBACK TO"].into_iter().flat_map(inner).collect(),
        vec!["COMMIT".to_owned()],
    ];
    assert_eq!(names(&recorder), expected.concat());
}

#[tokio::test]
async fn a_closure_runs_in_a_transaction() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut connection = pool.acquire().await.unwrap();
    let committed = connection.transaction(|transaction| {
        Box::pin(async move {
            insert(transaction).await;
            Ok::<_, sqlx::Error>(7)
        })
    });
    assert_eq!(committed.await.unwrap(), 7);
    sqlx::query("DELETE FROM users WHERE name = 'ida'").execute(connection.inner_mut()).await.unwrap();
    let failed = connection.transaction(|transaction| {
        Box::pin(async move {
            insert(transaction).await;
            Err::<(), _>(sqlx::Error::RowNotFound)
        })
    });
    assert!(failed.await.is_err());
    drop(connection);
    let expected = ["BEGIN", "INSERT users", "COMMIT", "BEGIN", "INSERT users"];
    assert_eq!(names(&recorder)[..5], expected);
    assert_eq!(names(&recorder)[5..], ["ROLLBACK"]);
    assert_eq!(users(&pool).await, 3);
}

#[tokio::test]
async fn a_begin_that_fails_leaves_no_rollback() {
    let recorder = Recorder::new();
    let pool = pool_with(defaults(&recorder)).await;
    let failed = pool.begin_with("BEGIN NONSENSE").await;
    assert!(failed.is_err());
    assert_eq!(names(&recorder), ["BEGIN"]);
    assert_eq!(attributes(&recorder, "error.type"), [Some("1".to_owned())]);
    let mut connection = pool.acquire().await.unwrap();
    let transaction = connection.begin().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(names(&recorder), ["BEGIN", "BEGIN", "COMMIT"]);
    let none = pool.try_begin().await.unwrap();
    assert!(none.is_none(), "the only connection is in use");
    drop(connection);
}
