//! No literal, value or credential leaves the process by default: a secret in each place where an application can have one.

use otel_sqlx::{QueryText, SqlitePool};
use otel_testing::Recorder;
use sqlx::AssertSqlSafe;

use crate::support::{bare_pool, defaults};

const SECRET: &str = "hunter2hunter2";

fn queries() -> Vec<String> {
    vec![
        format!("SELECT * FROM users WHERE name = '{SECRET}'"),
        format!("SELECT * FROM users WHERE name = \"{SECRET}\""),
        format!("SELECT * FROM users WHERE name IN ('a', '{SECRET}', x'00') /* {SECRET} */"),
        format!("SELECT * FROM users -- {SECRET}\n WHERE id = 1"),
        format!("INSERT INTO users (name) VALUES ('it''s {SECRET}')"),
        format!("UPDATE users SET name = '{SECRET}' WHERE name = 'x\\'"),
        format!("SELECT '{SECRET}"),
        format!("SELECT '{SECRET}' FROM '{SECRET}'"),
        format!("{SECRET}"),
        format!("PRAGMA user_version = '{SECRET}'"),
    ]
}

#[tokio::test]
async fn no_secret_is_recorded() {
    let recorder = Recorder::new();
    let pool = SqlitePool::new(bare_pool().await, defaults(&recorder));
    for query in queries() {
        // Some are no SQL, on purpose: the message of the error has the secret.
        let _ = sqlx::query(AssertSqlSafe(query.clone())).bind(SECRET).execute(&pool).await;
        let _ = sqlx::raw_sql(AssertSqlSafe(query)).execute(&pool).await;
    }
    let bound = sqlx::query("SELECT $1 FROM users WHERE name = $1").bind(SECRET);
    bound.fetch_all(&pool).await.unwrap();
    assert_eq!(recorder.spans().len(), 2 * queries().len() + 1);
    let recorded = format!("{:?}\n{}", recorder.spans(), recorder.metrics());
    assert!(!recorded.contains(SECRET), "{}", recorder.tree());
    recorder.assert_clean();
}

#[tokio::test]
async fn an_application_can_ask_for_its_texts() {
    let recorder = Recorder::new();
    let options = defaults(&recorder).with_query_text(QueryText::Verbatim);
    let pool = SqlitePool::new(bare_pool().await, options);
    sqlx::query("SELECT 'hunter2hunter2'").execute(&pool).await.unwrap();
    assert!(recorder.tree().contains(SECRET), "the test before can fail");
}
