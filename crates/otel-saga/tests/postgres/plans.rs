//! The pages that a claim reads: they depend on the instances of its own definitions only.

use otel_saga::journal::{DefinitionKey, Journal};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::Scratch;

const CLAIM: &str = include_str!("../../src/journal/postgres/sql/claim_free_definitions.sql");

/// The number of pages that a claim of one instance reads. Nothing is claimed.
async fn pages(connection: &mut PgConnection) -> u64 {
    let settings =
        "SET search_path = saga; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(settings).execute(&mut *connection).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS) {CLAIM}"));
    let explain = sqlx::query_scalar(explain).bind("w").bind(1_i64).bind(0_i64);
    let explain = explain.bind(vec!["order"]).bind(vec![1_i64]);
    let plan: Vec<String> = explain.fetch_all(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    // The first such line is that of the complete plan: `Buffers: shared hit=8 read=2 dirtied=1`.
    let total = plan.iter().find_map(|line| line.trim().strip_prefix("Buffers: shared ")).unwrap();
    let read = |part: &str| part.strip_prefix("hit=").or(part.strip_prefix("read="))?.parse::<u64>().ok();
    total.split(' ').filter_map(read).sum()
}

#[tokio::test]
async fn a_claim_does_not_read_due_instances_of_other_services() {
    let database = Scratch::new();
    let journal = database.journal().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let fill = "INSERT INTO saga.instance
        SELECT saga || '/' || number, saga, 1, 0, 0, 0, number, NULL, NULL, 1, 1
        FROM unnest($1::text[]) AS saga, generate_series(1, $2) AS number";
    // The own instance is due last.
    sqlx::query(fill).bind(vec!["order"]).bind(1).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("UPDATE saga.instance SET due = 1000000").execute(&mut connection).await.unwrap();
    sqlx::raw_sql("VACUUM saga.instance").execute(&mut connection).await.unwrap();
    let alone = pages(&mut connection).await;
    sqlx::query(fill).bind(vec!["refund", "invoice"]).bind(10_000).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("VACUUM saga.instance").execute(&mut connection).await.unwrap();
    let beside = pages(&mut connection).await;
    println!("a claim reads {alone} pages alone, {beside} beside 20,000 due instances of others");
    assert!(beside <= 3 * alone, "{beside} pages beside 20,000 due instances of others, {alone} alone");
    let own = [DefinitionKey::new("order", 1)];
    assert_eq!(journal.claim("w", Some(&own), 10).await.unwrap().len(), 1);
    assert_eq!(journal.claim("w", None, 10).await.unwrap().len(), 10);
}
