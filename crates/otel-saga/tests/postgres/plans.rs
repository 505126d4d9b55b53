//! The pages that a claim reads: they depend on the instances of its own definitions only.

use std::time::Duration;

use otel_saga::journal::{DefinitionKey, Journal};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::Scratch;

const DUE: &str = include_str!("../../src/journal/postgres/sql/claim_free_definitions.sql");
const LEFT: &str = include_str!("../../src/journal/postgres/sql/claim_left.sql");

/// The number of pages that a claim of one instance of `order` reads, of due instances or of those that a dead worker
/// has left. Nothing is claimed.
async fn pages(connection: &mut PgConnection, claim: &str) -> u64 {
    let settings =
        "SET search_path = saga; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(settings).execute(&mut *connection).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS) {claim}"));
    let mut explain = sqlx::query_scalar(explain).bind("w").bind(1_i64);
    explain = match claim {
        DUE => explain.bind(0_i64),
        _ => explain.bind(Vec::<String>::new()).bind("").bind("").bind(0_i64).bind(""),
    };
    let explain = explain.bind(vec!["order"]).bind(vec![1_i64]);
    let plan: Vec<String> = explain.fetch_all(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    // The first such line is that of the complete plan: `Buffers: shared hit=8 read=2 dirtied=1`.
    let total = plan.iter().find_map(|line| line.trim().strip_prefix("Buffers: shared ")).unwrap();
    let read = |part: &str| part.strip_prefix("hit=").or(part.strip_prefix("read="))?.parse::<u64>().ok();
    total.split(' ').filter_map(read).sum()
}

/// Adds running instances of these sagas, owned by this worker.
async fn fill(connection: &mut PgConnection, sagas: &[&str], count: i32, owner: Option<&str>) {
    let fill = "INSERT INTO saga.instance
        SELECT saga || '/' || number, saga, 1, 0, 0, 0, number, NULL, $3, 1, 1
        FROM unnest($1::text[]) AS saga, generate_series(1, $2) AS number";
    let fill = sqlx::query(fill).bind(sagas).bind(count).bind(owner);
    fill.execute(&mut *connection).await.unwrap();
    sqlx::raw_sql("VACUUM saga.instance").execute(&mut *connection).await.unwrap();
}

#[tokio::test]
async fn a_claim_does_not_read_due_instances_of_other_services() {
    let database = Scratch::new();
    let journal = database.journal().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    // The own instance is due last.
    fill(&mut connection, &["order"], 1, None).await;
    sqlx::raw_sql("UPDATE saga.instance SET due = 1000000").execute(&mut connection).await.unwrap();
    sqlx::raw_sql("VACUUM saga.instance").execute(&mut connection).await.unwrap();
    let alone = pages(&mut connection, DUE).await;
    fill(&mut connection, &["refund", "invoice"], 10_000, None).await;
    let beside = pages(&mut connection, DUE).await;
    println!("a claim reads {alone} pages alone, {beside} beside 20,000 due instances of others");
    assert!(beside <= 3 * alone, "{beside} pages beside 20,000 due instances of others, {alone} alone");
    let own = [DefinitionKey::new("order", 1)];
    assert_eq!(journal.claim("w", Some(&own), 10).await.unwrap().len(), 1);
    assert_eq!(journal.claim("w", None, 10).await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_takeover_does_not_read_what_it_does_not_claim() {
    let database = Scratch::new();
    let journal = database.journal().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    journal.renew("live", Duration::from_secs(600)).await.unwrap();
    fill(&mut connection, &["order"], 1, Some("z-dead")).await;
    let alone = pages(&mut connection, LEFT).await;
    // The same dead worker, an earlier one, and a live one.
    fill(&mut connection, &["refund", "invoice"], 5_000, Some("z-dead")).await;
    fill(&mut connection, &["refund/a", "order/a"], 5_000, Some("dead")).await;
    fill(&mut connection, &["order/live", "trip"], 5_000, Some("live")).await;
    let mut read = vec![pages(&mut connection, LEFT).await];
    // With and without statistics, and with more of its own.
    sqlx::raw_sql("ANALYZE saga.instance").execute(&mut connection).await.unwrap();
    read.push(pages(&mut connection, LEFT).await);
    let more =
        "INSERT INTO saga.instance SELECT 'more/' || number, 'order', 1, 0, 0, 0, 0, NULL, 'z-dead', 1, 1
        FROM generate_series(1, 10000) AS number";
    sqlx::raw_sql(more).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE saga.instance").execute(&mut connection).await.unwrap();
    read.push(pages(&mut connection, LEFT).await);
    println!("a takeover reads {alone} pages alone, {read:?} beside 30,000 and 40,000 instances of workers");
    assert!(read.iter().all(|read| *read <= 4 * alone), "{read:?} pages, {alone} alone");
    // Page after page, all of them are claimed.
    journal.renew("w", Duration::from_secs(600)).await.unwrap();
    let own = [DefinitionKey::new("order", 1)];
    let mut claimed = 0;
    for _ in 0..12 {
        claimed += journal.claim("w", Some(&own), 1_000).await.unwrap().len();
    }
    assert_eq!(claimed, 10_001);
    let mut all = journal.claim("w", None, 15_000).await.unwrap();
    all.extend(journal.claim("w", None, 15_000).await.unwrap());
    assert_eq!(all.len(), 20_000);
    assert!(all.iter().all(|one| ["refund", "invoice", "refund/a", "order/a"].contains(&&*one.saga)));
}
