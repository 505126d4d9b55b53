//! All ways in which a query is run: one span each, with its rows, on a pool, a connection and a transaction.

use futures_util::TryStreamExt as _;
use otel_sqlx::SqlitePool;
use otel_testing::Recorder;
use sqlx::{Executor, QueryBuilder, Sqlite, SqliteExecutor};

use crate::support::{ROWS, attributes, names, pool};

const ALL: &str = "SELECT id, name FROM users ORDER BY id";

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct User {
    id: i64,
    name: String,
}

/// Asserts that one span was recorded since the last call, with this name and these rows.
fn assert_one(recorder: &Recorder, seen: &mut usize, call: &str, name: &str, rows: Option<u64>) {
    let new = &names(recorder)[*seen..];
    assert_eq!(new, [name], "{call}");
    let counted = attributes(recorder, ROWS)[*seen].clone();
    assert_eq!(counted, rows.map(|rows| rows.to_string()), "{call}");
    *seen += 1;
}

/// Runs each method on an executor that `$executor` makes anew.
macro_rules! each_method {
    ($recorder:expr, $executor:expr) => {{
        let (recorder, mut seen) = ($recorder, names($recorder).len());
        let mut one = |call: &str, name: &str, rows| assert_one(recorder, &mut seen, call, name, rows);
        let update = "UPDATE users SET name = name WHERE id < 3";
        assert_eq!(sqlx::query(update).execute($executor).await.unwrap().rows_affected(), 2);
        one("execute", "UPDATE users", None);
        assert_eq!(sqlx::query(ALL).fetch_all($executor).await.unwrap().len(), 3);
        one("fetch_all", "SELECT users", Some(3));
        sqlx::query(ALL).fetch_one($executor).await.unwrap();
        one("fetch_one", "SELECT users", Some(1));
        let none = sqlx::query("SELECT 1 FROM users WHERE id = 9");
        assert!(none.fetch_optional($executor).await.unwrap().is_none());
        one("fetch_optional", "SELECT users", Some(0));
        assert_eq!(sqlx::query(ALL).fetch($executor).try_collect::<Vec<_>>().await.unwrap().len(), 3);
        one("fetch", "SELECT users", Some(3));
        let two = "SELECT id FROM users; UPDATE users SET name = name";
        let steps: Vec<_> = sqlx::raw_sql(two).fetch_many($executor).try_collect().await.unwrap();
        assert_eq!(steps.len(), 5);
        one("fetch_many", "SELECT users UPDATE users", Some(3));
        let results: Vec<_> = sqlx::raw_sql(two).execute_many($executor).try_collect().await.unwrap();
        assert_eq!(results.len(), 2);
        one("execute_many", "SELECT users UPDATE users", None);
        let users = sqlx::query_as::<_, User>(ALL).fetch_all($executor).await.unwrap();
        assert_eq!(users[2], User { id: 3, name: "eva".to_owned() });
        one("query_as", "SELECT users", Some(3));
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one($executor).await.unwrap();
        assert_eq!(count, 3);
        one("query_scalar", "SELECT users", Some(1));
        // The macros expand to such a `Map`.
        let map = sqlx::query("SELECT name FROM users WHERE id = $1").bind(2_i64);
        let map = map.try_map(|row: sqlx::sqlite::SqliteRow| sqlx::Row::try_get::<String, _>(&row, 0));
        assert_eq!(map.fetch_one($executor).await.unwrap(), "bob");
        one("map", "SELECT users", Some(1));
        let mut built = QueryBuilder::<Sqlite>::new("SELECT * FROM users WHERE id IN (");
        built.separated(", ").push_bind(1).push_bind(2).push_unseparated(")");
        assert_eq!(built.build().fetch_all($executor).await.unwrap().len(), 2);
        one("QueryBuilder", "SELECT users", Some(2));
        let prepared = $executor.prepare(sqlx::SqlSafeStr::into_sql_str(ALL)).await.unwrap();
        one("prepare", "PREPARE SELECT users", None);
        let rows = sqlx::Statement::query(&prepared).fetch_all($executor).await.unwrap();
        assert_eq!(rows.len(), 3);
        one("prepared", "SELECT users", Some(3));
        recorder.assert_clean();
    }};
}

#[tokio::test]
async fn a_pool() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    each_method!(&recorder, &pool);
}

#[tokio::test]
async fn a_connection_of_a_pool() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut connection = pool.acquire().await.unwrap();
    each_method!(&recorder, &mut *connection);
    let mut detached = connection.detach();
    each_method!(&recorder, &mut detached);
    detached.ping().await.unwrap();
    detached.close().await.unwrap();
}

#[tokio::test]
async fn connections_of_a_connector_share_their_metrics() {
    let recorder = Recorder::new();
    let options = sqlx::sqlite::SqliteConnectOptions::new().in_memory(true);
    let connector = otel_sqlx::Connector::<Sqlite>::new(options, crate::support::defaults(&recorder));
    for _ in 0..2 {
        let mut connection = connector.clone().connect().await.unwrap();
        sqlx::query("SELECT 1").execute(&mut connection).await.unwrap();
    }
    assert_eq!(recorder.metric("db.client.operation.duration").points().len(), 1);
    assert_eq!(names(&recorder), ["SELECT", "SELECT"]);
}

#[tokio::test]
async fn a_transaction() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut transaction = pool.begin().await.unwrap();
    each_method!(&recorder, &mut *transaction);
    transaction.commit().await.unwrap();
}

/// A function as applications have it, whose type needs no change.
async fn count<'e>(executor: impl SqliteExecutor<'e>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(executor).await
}

#[tokio::test]
async fn generic_code_takes_ours_and_runs_on_a_task() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let task = async |pool: SqlitePool| {
        let on_pool = count(&pool).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        on_pool + count(&mut *connection).await.unwrap()
    };
    let sum = tokio::spawn(task(pool)).await.unwrap();
    assert_eq!(sum, 6);
    assert_eq!(names(&recorder), ["SELECT users"; 2]);
}

#[tokio::test]
async fn a_span_has_what_the_configuration_says() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let query = sqlx::query("SELECT name FROM users WHERE id = $1 AND name <> 'secret'").bind(1);
    query.fetch_optional(&pool).await.unwrap();
    assert_eq!(
        recorder.tree(),
        "CLIENT SELECT users\n    \
         db.namespace: :memory:\n    \
         db.query.summary: SELECT users\n    \
         db.query.text: SELECT name FROM users WHERE id = $1 AND name <> ?\n    \
         db.response.returned_rows: 1\n    \
         db.system.name: sqlite\n"
    );
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!((duration.count(), duration.points().len()), (1, 1));
}
