//! The servers, and pools of them.

use std::sync::Arc;
use std::time::Duration;

use otel_sqlx::{MySqlPool, Options, PgPool};
use otel_testing::{Recorder, service};
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;

const START: &str = "run `cargo xtask services up postgres mariadb`";

pub(crate) fn setting(name: &str) -> String {
    service::setting(name, START)
}

pub(crate) fn defaults(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_connection_wait_limit(Duration::from_secs(60))
}

/// Returns a bare pool on a database of its own, of this name.
pub(crate) async fn bare_postgres(name: &str) -> sqlx::PgPool {
    let url = setting("POSTGRES_URL").trim_end_matches('/').to_owned();
    let admin = sqlx::PgPool::connect(&format!("{url}/postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await.unwrap();
    PgPoolOptions::new().max_connections(4).connect(&format!("{url}/{name}")).await.unwrap()
}

pub(crate) async fn postgres(recorder: &Recorder, name: &str) -> PgPool {
    PgPool::new(bare_postgres(&unique(name)).await, defaults(recorder))
}

/// Returns a bare pool on a database of its own, of this name.
pub(crate) async fn mariadb(recorder: &Recorder, name: &str) -> MySqlPool {
    let name = unique(name);
    let url = setting("MARIADB_URL").trim_end_matches('/').to_owned();
    let admin = sqlx::MySqlPool::connect(&url).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await.unwrap();
    let pool = MySqlPoolOptions::new().max_connections(4).connect(&format!("{url}/{name}")).await.unwrap();
    MySqlPool::new(pool, defaults(recorder))
}

/// Returns a name for a database: letters, digits and underscores.
pub(crate) fn unique(name: &str) -> String {
    service::unique_name(name).replace('-', "_")
}

/// Returns the value of an attribute of each span of this name, in the order of their ends.
pub(crate) fn attributes(recorder: &Recorder, name: &str, key: &str) -> Vec<Option<String>> {
    let spans = recorder.spans();
    let named = spans.iter().filter(|span| span.name == name);
    let value = |span: &opentelemetry_sdk::trace::SpanData| {
        span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
    };
    named.map(value).collect()
}

/// Asserts the codes of the failed spans of this name, on the span and on its duration.
pub(crate) fn assert_codes(recorder: &Recorder, name: &str, codes: &[&str]) {
    for key in ["error.type", "db.response.status_code"] {
        let found: Vec<_> = attributes(recorder, name, key).into_iter().flatten().collect();
        assert_eq!(found, codes, "{key}\n{}", recorder.tree());
    }
    let duration = recorder.metric("db.client.operation.duration");
    let of_code = |code: &&str| {
        duration.points().iter().any(|point| {
            let is =
                |key: &str, value: &str| point.attribute(key).is_some_and(|found| found.as_str() == value);
            is("error.type", code) && is("db.query.summary", name)
        })
    };
    assert!(codes.iter().all(of_code), "{duration:?}");
    recorder.assert_clean();
}

/// A number of parties that wait for each other.
pub(crate) fn barrier(parties: usize) -> Arc<tokio::sync::Barrier> {
    Arc::new(tokio::sync::Barrier::new(parties))
}
