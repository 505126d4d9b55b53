//! All that is recorded is in the registry of the conventions, or listed in docs/conventions.md.

use std::time::Duration;

use otel_sqlx::SqlitePool;
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};

use crate::support::{bare_pool, defaults};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test]
async fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    let options =
        defaults(&recorder).with_connection_wait_limit(Duration::ZERO).with_server("db.example", Some(7));
    let pool = SqlitePool::new(bare_pool().await, options);
    sqlx::query("SELECT * FROM users").fetch_all(&pool).await.unwrap();
    sqlx::query("SELECT * FROM nothing").fetch_all(&pool).await.unwrap_err();
    pool.begin().await.unwrap().rollback().await.unwrap();
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-sqlx").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()));
}
