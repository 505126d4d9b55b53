//! Migrations, and several journals in one database.

use futures_util::future::join_all;
use otel_saga::journal::{CreateOutcome, Journal, NewInstance, PostgresError, Query};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::support::Scratch;

#[tokio::test]
async fn tables_are_made_once_by_whoever_comes_first() {
    let database = Scratch::new();
    let options = database.options();
    let missing = options.connect().await.unwrap_err();
    assert!(matches!(missing, PostgresError::NotMigrated { found: 0, wanted: 3, .. }), "{missing}");
    let all = join_all((0..6).map(|_| options.migrate())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let journal = options.connect().await.unwrap();
    journal.create(NewInstance::new("a", "order", 1, vec![])).await.unwrap();
    options.migrate().await.unwrap();
    assert!(journal.load("a").await.unwrap().is_some());
    let port = database.url().rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(format!("{journal:?}"), format!("PostgresJournal(\"127.0.0.1:{port}.saga\")"));
}

#[tokio::test]
async fn journals_in_two_schemas_do_not_see_each_other() {
    let database = Scratch::new();
    let mut journals = Vec::new();
    for schema in ["sagas", "order"] {
        let options = database.options().with_schema(schema);
        options.migrate().await.unwrap();
        journals.push(options.connect().await.unwrap());
    }
    for journal in &journals {
        let created = journal.create(NewInstance::new("a", "order", 1, vec![])).await.unwrap();
        assert!(matches!(created, CreateOutcome::New(_)));
        assert_eq!(journal.list(&Query::default()).await.unwrap().len(), 1);
    }
    assert_eq!(journals[0].claim("w", None, 10).await.unwrap().len(), 1);
    assert_eq!(journals[1].load("a").await.unwrap().unwrap().summary.epoch, 1);
    for schema in ["", "Upper", "1st", "a\"b", "a b", &"x".repeat(64)] {
        let error = database.options().with_schema(schema).connect().await.unwrap_err();
        assert!(matches!(error, PostgresError::Schema { .. }), "{error}");
    }
}

#[tokio::test]
async fn tables_of_a_later_version_are_left_alone() {
    let database = Scratch::new();
    let options = database.options();
    options.migrate().await.unwrap();
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let later = sqlx::raw_sql("INSERT INTO saga.migration VALUES (4, now())");
    later.execute(&mut connection).await.unwrap();
    for error in [options.migrate().await.unwrap_err(), options.connect().await.map(|_| ()).unwrap_err()] {
        assert!(matches!(error, PostgresError::TooNew { found: 4, known: 3, .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_answered_is_durable_whatever_the_databases_settings_are() {
    let database = Scratch::new();
    database.options().migrate().await.unwrap();
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    // The stricter isolation would fail claims that wait for each other.
    let settings = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
        EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
        END $$";
    sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    // Records the settings of the session that writes.
    let spy = "SET search_path = saga; CREATE TABLE spied (durable text, isolation text);
        CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO spied VALUES
                (current_setting('synchronous_commit'), current_setting('transaction_isolation'));
            RETURN new; END $$;
        CREATE TRIGGER spy BEFORE INSERT OR UPDATE ON instance FOR EACH ROW EXECUTE FUNCTION spy()";
    sqlx::raw_sql(spy).execute(&mut connection).await.unwrap();
    let journal = database.options().connect().await.unwrap();
    journal.create(NewInstance::new("a", "order", 1, vec![])).await.unwrap();
    journal.claim("w", None, 1).await.unwrap();
    let spied = sqlx::query_as("SELECT durable, isolation FROM spied").fetch_all(&mut connection);
    let spied: Vec<(String, String)> = spied.await.unwrap();
    assert_eq!(spied, vec![("on".to_owned(), "read committed".to_owned()); 2]);
}
