//! Errors of real servers: constraints, a deadlock, a statement that is cancelled, a future that is dropped.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use otel_testing::Recorder;
use sqlx::Error;

use crate::support::{assert_codes, attributes, barrier, mariadb, postgres};

const TABLES: &str = "CREATE TABLE parents (id INT PRIMARY KEY);
    CREATE TABLE children (id INT PRIMARY KEY, parent INT NOT NULL, FOREIGN KEY (parent) REFERENCES parents (id));
    INSERT INTO parents VALUES (1), (2);
    INSERT INTO children VALUES (1, 1), (2, 2);";

/// Queries that violate a constraint, by its kind.
const VIOLATIONS: [&str; 3] = [
    "INSERT INTO children VALUES (1, 1)",
    "INSERT INTO children VALUES (3, 9)",
    "INSERT INTO children (id, parent) VALUES (3, NULL)",
];

#[tokio::test]
async fn constraints_of_postgres_have_their_sqlstate() {
    let recorder = Recorder::new();
    let pool = postgres(&recorder, "constraints").await;
    sqlx::raw_sql(TABLES).execute(pool.inner()).await.unwrap();
    for query in VIOLATIONS {
        sqlx::query(query).execute(&pool).await.unwrap_err();
    }
    assert_codes(&recorder, "INSERT children", &["23505", "23503", "23502"]);
    // The detail of such an error has the key.
    assert!(!format!("{:?}", recorder.spans()).contains("Key (id)"));
}

#[tokio::test]
async fn constraints_of_mariadb_have_their_error_number() {
    let recorder = Recorder::new();
    let pool = mariadb(&recorder, "constraints").await;
    sqlx::raw_sql(TABLES).execute(pool.inner()).await.unwrap();
    for query in VIOLATIONS {
        sqlx::query(query).execute(&pool).await.unwrap_err();
    }
    assert_codes(&recorder, "INSERT children", &["1062", "1452", "1048"]);
    assert_eq!(attributes(&recorder, "INSERT children", "db.system.name")[0].as_deref(), Some("mysql"));
    let mut transaction = pool.begin().await.unwrap();
    let double_quoted = sqlx::query("SELECT id FROM parents WHERE 'x' <> \"hunter2\" ORDER BY id");
    assert_eq!(double_quoted.fetch_all(&mut *transaction).await.unwrap().len(), 2);
    transaction.rollback().await.unwrap();
    let tree = recorder.tree();
    assert!(tree.contains("CLIENT ROLLBACK") && !tree.contains("hunter2"), "{tree}");
    assert_eq!(recorder.metric("db.client.response.returned_rows").sum(), 2.0);
}

#[tokio::test]
async fn the_victim_of_a_deadlock_has_its_code() {
    let recorder = Recorder::new();
    let pool = postgres(&recorder, "deadlock").await;
    sqlx::raw_sql(TABLES).execute(pool.inner()).await.unwrap();
    let both = barrier(2);
    let transfer = |first: i32, second: i32| {
        let (pool, both) = (pool.clone(), both.clone());
        tokio::spawn(async move {
            let update = "UPDATE parents SET id = id WHERE id = $1";
            let mut transaction = pool.begin().await?;
            sqlx::query(update).bind(first).execute(&mut *transaction).await?;
            both.wait().await;
            sqlx::query(update).bind(second).execute(&mut *transaction).await?;
            transaction.commit().await
        })
    };
    let (one, other) = (transfer(1, 2), transfer(2, 1));
    let results = [one.await.unwrap(), other.await.unwrap()];
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1, "{results:?}");
    assert_codes(&recorder, "UPDATE parents", &["40P01"]);
    // The transaction of the victim was dropped.
    assert_eq!(attributes(&recorder, "ROLLBACK", "error.type"), [None]);
    assert_eq!(attributes(&recorder, "COMMIT", "error.type"), [None]);
}

#[tokio::test]
async fn a_statement_that_the_server_cancels_has_its_code() {
    let recorder = Recorder::new();
    let pool = postgres(&recorder, "cancelled").await;
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query("SET statement_timeout = 20").execute(&mut *connection).await.unwrap();
    let slow = sqlx::query("SELECT pg_sleep(60) FROM pg_class");
    assert!(matches!(slow.fetch_all(&mut *connection).await, Err(Error::Database(_))));
    assert_codes(&recorder, "SELECT pg_class", &["57014"]);
    // The caller's timeout is no code of the server's.
    sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await.unwrap();
    let slow = sqlx::query("SELECT pg_sleep(60)").execute(&mut *connection);
    assert!(tokio::time::timeout(Duration::from_millis(20), slow).await.is_err());
    assert_eq!(attributes(&recorder, "SELECT", "error.type"), [Some("cancelled".to_owned())]);
    connection.close_on_drop();
}

#[tokio::test]
async fn a_stream_of_postgres_that_is_dropped_has_the_rows_so_far() {
    let recorder = Recorder::new();
    let pool = postgres(&recorder, "streams").await;
    let mut rows = sqlx::query("SELECT * FROM generate_series(1, 100000)").fetch(&pool);
    for _ in 0..7 {
        rows.try_next().await.unwrap().unwrap();
    }
    drop(rows);
    let point = recorder.metric("db.client.response.returned_rows").points()[0].clone();
    assert_eq!((point.sum(), point.count()), (7.0, 1));
    assert_eq!(point.attribute("error.type").map(ToString::to_string).as_deref(), Some("cancelled"));
    // The connection is usable afterwards.
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(one, 1);
    recorder.assert_clean();
}
