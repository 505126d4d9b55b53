//! Errors and their classes: constraints, syntax, decoding, encoding.

use otel_testing::Recorder;
use sqlx::Error;

use crate::support::{attributes, pool};

#[tokio::test]
async fn an_error_of_the_database_has_its_code() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    // The extended result codes of SQLite.
    for (query, code) in [
        ("INSERT INTO users VALUES (1, 'zoe')", "1555"),
        ("INSERT INTO users VALUES (9, 'ana')", "2067"),
        ("INSERT INTO users VALUES (9, NULL)", "1299"),
        ("SELECT * FROM nothing", "1"),
        ("SELEC 1", "1"),
    ] {
        let error = sqlx::query(query).execute(&pool).await.unwrap_err();
        assert!(error.as_database_error().is_some(), "{error}");
        for key in ["error.type", "db.response.status_code"] {
            assert_eq!(attributes(&recorder, key).pop().flatten().as_deref(), Some(code), "{query}");
        }
    }
    let tree = recorder.tree();
    // The message of such an error names tables and columns, and in other databases values.
    assert!(!tree.contains("UNIQUE") && !tree.contains("zoe"), "{tree}");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_query_that_fails_midway_has_its_code_and_the_rows_so_far() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    // An overflow in the second row.
    let query = "SELECT CASE id WHEN 2 THEN abs(-9223372036854775808) ELSE id END FROM users ORDER BY id";
    sqlx::query(query).fetch_all(&pool).await.unwrap_err();
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query(query).fetch_all(&mut *connection).await.unwrap_err();
    let twice = |value: &str| [Some(value.to_owned()), Some(value.to_owned())];
    assert_eq!(attributes(&recorder, "error.type"), twice("1"));
    assert_eq!(attributes(&recorder, "db.response.returned_rows"), twice("1"));
}

#[tokio::test]
async fn a_row_that_is_not_found_is_no_failure_of_the_database() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let query = sqlx::query("SELECT 1 FROM users WHERE id = 9");
    assert!(matches!(query.fetch_one(&pool).await, Err(Error::RowNotFound)));
    assert_eq!(attributes(&recorder, "error.type"), [None]);
    assert_eq!(attributes(&recorder, "db.response.returned_rows"), [Some("0".to_owned())]);
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_is_an_error_of_its_query() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let query = sqlx::query("SELECT $1").bind(Broken);
    assert!(matches!(query.fetch_one(&pool).await, Err(Error::Encode(_))));
    assert_eq!(attributes(&recorder, "error.type"), [Some("encode".to_owned())]);
    recorder.assert_clean();
}

/// A value whose encoding fails.
struct Broken;

impl sqlx::Type<sqlx::Sqlite> for Broken {
    fn type_info() -> sqlx::sqlite::SqliteTypeInfo {
        <i64 as sqlx::Type<sqlx::Sqlite>>::type_info()
    }
}

impl sqlx::Encode<'_, sqlx::Sqlite> for Broken {
    fn encode_by_ref(
        &self,
        _: &mut sqlx::sqlite::SqliteArgumentsBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Err("hunter2".into())
    }
}
