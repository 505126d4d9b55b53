//! The participant of the crate's README, on a real database. A test compares its text with the README's.

use sqlx::PgPool;

use crate::support::Scratch;

const README: &str = include_str!("../../README.md");
const THIS: &str = include_str!("participant.rs");
const TABLES: &str = "CREATE TABLE account (id bigint PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0));
CREATE TABLE answer (key text PRIMARY KEY, held boolean NOT NULL DEFAULT false, undone boolean NOT NULL DEFAULT false);";

// The README's code begins here.
/// Holds money once for the key: the effect and the first answer are in one transaction.
async fn hold(pool: &PgPool, key: &str, account: i64, cents: i64) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // A call with the same key at the same time waits here for the end of this transaction.
    let first = sqlx::query("INSERT INTO answer (key) VALUES ($1) ON CONFLICT DO NOTHING").bind(key);
    if first.execute(&mut *transaction).await?.rows_affected() == 0 {
        // A repeated call gets the first answer. A call that was undone before it came is refused.
        let answer = "SELECT held AND NOT undone FROM answer WHERE key = $1";
        return sqlx::query_scalar(answer).bind(key).fetch_one(&mut *transaction).await;
    }
    let debit = sqlx::query("UPDATE account SET cents = cents - $2 WHERE id = $1 AND cents >= $2");
    let held = debit.bind(account).bind(cents).execute(&mut *transaction).await?.rows_affected() == 1;
    let keep = sqlx::query("UPDATE answer SET held = $2 WHERE key = $1").bind(key).bind(held);
    keep.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(held)
}

/// Undoes the hold of this key, once. If it never came, the row is its tombstone: it refuses the hold if that comes late.
async fn release(pool: &PgPool, action_key: &str, account: i64, cents: i64) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let undo = "INSERT INTO answer (key, undone) VALUES ($1, true) \
        ON CONFLICT (key) DO UPDATE SET undone = true WHERE NOT answer.undone RETURNING held";
    let held: Option<bool> =
        sqlx::query_scalar(undo).bind(action_key).fetch_optional(&mut *transaction).await?;
    if held == Some(true) {
        let credit = sqlx::query("UPDATE account SET cents = cents + $2 WHERE id = $1");
        credit.bind(account).bind(cents).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
// The README's code ends here.

async fn bank(database: &Scratch) -> PgPool {
    let pool = PgPool::connect(&database.url()).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
    sqlx::raw_sql("INSERT INTO account VALUES (1, 1000)").execute(&pool).await.unwrap();
    pool
}

async fn cents(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT cents FROM account").fetch_one(pool).await.unwrap()
}

#[test]
fn the_readme_shows_this_participant() {
    let (_, code) = THIS.split_once("// The README's code begins here.\n").unwrap();
    let (code, _) = code.split_once("// The README's code ends here.\n").unwrap();
    for text in [code, TABLES] {
        assert!(README.contains(text), "the README has another text:\n{text}");
    }
}

#[tokio::test]
async fn a_key_has_one_effect_and_one_answer() {
    let database = Scratch::new();
    let pool = bank(&database).await;
    let calls = (0..8).map(|_| hold(&pool, "a", 1, 600));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.into_iter().all(Result::unwrap), "each call has the first answer");
    assert_eq!(cents(&pool).await, 400);
    assert!(!hold(&pool, "b", 1, 600).await.unwrap());
    release(&pool, "a", 1, 600).await.unwrap();
    assert!(!hold(&pool, "b", 1, 600).await.unwrap(), "a refusal is final");
    pool.close().await;
}

#[tokio::test]
async fn a_hold_is_released_once() {
    let database = Scratch::new();
    let pool = bank(&database).await;
    assert!(hold(&pool, "a", 1, 600).await.unwrap());
    for _ in 0..2 {
        release(&pool, "a", 1, 600).await.unwrap();
        assert_eq!(cents(&pool).await, 1000);
    }
    assert!(!hold(&pool, "a", 1, 600).await.unwrap(), "it is repeated after it was undone");
    // A refused hold has nothing to release.
    assert!(!hold(&pool, "b", 1, 2000).await.unwrap());
    release(&pool, "b", 1, 2000).await.unwrap();
    assert_eq!(cents(&pool).await, 1000);
    pool.close().await;
}

#[tokio::test]
async fn a_hold_that_comes_late_is_refused() {
    let database = Scratch::new();
    let pool = bank(&database).await;
    release(&pool, "a", 1, 600).await.unwrap();
    assert!(!hold(&pool, "a", 1, 600).await.unwrap());
    assert_eq!(cents(&pool).await, 1000);
    pool.close().await;
}
