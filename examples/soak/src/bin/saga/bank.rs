//! The participants and the saga: transfers between accounts of one Postgres, through accounts that hold the money.

use std::time::Duration;

use otel_saga::{DefinitionError, RetryPolicy, Saga, StepContext, StepError};
use serde::{Deserialize, Serialize};
use soak::Random;
use sqlx::{PgConnection, PgPool};

/// The number of accounts, and the balance of each at the start. As many further accounts hold the money of transfers from
/// each of them.
pub(crate) const ACCOUNTS: i64 = 20;
pub(crate) const BALANCE: i64 = 1_000_000;

/// The longest pause before and after the work of an attempt.
const PAUSE: u64 = 25;

const TABLES: &str = "
CREATE TABLE account (id bigint PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0), notified bigint NOT NULL);
CREATE TABLE effect (key text PRIMARY KEY, answer text NOT NULL, undone boolean NOT NULL DEFAULT false);
";

pub(crate) struct Bank {
    pub(crate) pool: PgPool,
}

type Context = StepContext<Bank>;

/// A transfer, and its step that refuses it, if any.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) cents: i64,
    pub(crate) refused_by: Option<String>,
}

impl Transfer {
    /// The transfer of this number: three of eight are refused.
    pub(crate) fn new(number: u64) -> Self {
        let refused_by = match number % 8 {
            3 => Some("hold"),
            4 => Some("check"),
            5 => Some("settle"),
            _ => None,
        };
        let (from, to) = (number as i64 % ACCOUNTS, (number as i64 * 7 + 3) % ACCOUNTS);
        Self { from, to, cents: 100 + number as i64 % 50, refused_by: refused_by.map(str::to_owned) }
    }
}

pub(crate) async fn create(pool: &PgPool) -> Result<(), sqlx::Error> {
    // The server is killed, not the machine: its writes need not be on the disk.
    sqlx::raw_sql("ALTER SYSTEM SET fsync = off").execute(pool).await?;
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(pool).await?;
    sqlx::raw_sql(TABLES).execute(pool).await?;
    let accounts = "INSERT INTO account SELECT id, CASE WHEN id < $1 THEN $2 ELSE 0 END, 0
        FROM generate_series(0, 2 * $1 - 1) AS id";
    sqlx::query(accounts).bind(ACCOUNTS).bind(BALANCE).execute(pool).await?;
    Ok(())
}

pub(crate) fn saga() -> Result<Saga<Bank, Transfer>, DefinitionError> {
    let patient = RetryPolicy::exponential(Duration::from_millis(20), Duration::from_millis(500));
    let (patient, timeout) = (patient.with_attempts(1_000), Duration::from_secs(5));
    let mut saga = Saga::builder("transfer", 1);
    let held = saga.step("hold", (), hold).retry(patient).timeout(timeout).undo(release);
    let checked = saga.step("check", held, check).retry(patient).timeout(timeout).undo(forget);
    let settled = saga.step("settle", (held, checked), settle).retry(patient).timeout(timeout).pivot();
    saga.step("notify", settled, notify).retry(patient).timeout(timeout).forward();
    saga.build()
}

/// Waits, and loses every eighth request or answer.
async fn network(cx: &Context, place: &str) -> Result<(), StepError> {
    let seed = format!("{}{place}{}", cx.idempotency_key(), cx.attempt());
    let mut random = Random::new(seed.bytes().fold(7, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte)), 0);
    tokio::time::sleep(Duration::from_millis(random.below(PAUSE))).await;
    if random.below(8) == 0 {
        return Err(StepError::uncertain("lost in the network"));
    }
    Ok(())
}

/// Returns the first answer to this key, or has `work` make it. Both are one transaction.
async fn once(
    cx: &Context,
    transfer: &Transfer,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<bool, sqlx::Error>,
) -> Result<String, StepError> {
    network(cx, "request").await?;
    let key = cx.idempotency_key();
    let mut transaction = cx.state().pool.begin().await?;
    let claimed = sqlx::query("INSERT INTO effect VALUES ($1, '') ON CONFLICT DO NOTHING").bind(&key);
    let is_first = claimed.execute(&mut *transaction).await?.rows_affected() == 1;
    let answer: String = if is_first {
        let accepts = transfer.refused_by.as_deref() != Some(cx.step());
        let accepted = accepts && work(&mut transaction).await?;
        let answer = if accepted { "done" } else { "refused" };
        let keep = sqlx::query("UPDATE effect SET answer = $2 WHERE key = $1").bind(&key).bind(answer);
        keep.execute(&mut *transaction).await?;
        answer.to_owned()
    } else {
        let answer = "SELECT CASE WHEN undone THEN 'refused' ELSE answer END FROM effect WHERE key = $1";
        sqlx::query_scalar(answer).bind(&key).fetch_one(&mut *transaction).await?
    };
    transaction.commit().await?;
    network(cx, "answer").await?;
    if answer == "done" { Ok(answer) } else { Err(StepError::refused(answer)) }
}

/// Changes a balance. A transaction changes an account before one that holds its money, so that none of them deadlock.
async fn add(connection: &mut PgConnection, account: i64, cents: i64) -> Result<(), sqlx::Error> {
    let add = sqlx::query("UPDATE account SET cents = cents + $2 WHERE id = $1").bind(account).bind(cents);
    add.execute(connection).await?;
    Ok(())
}

async fn hold(cx: Context, transfer: Transfer, (): ()) -> Result<String, StepError> {
    once(&cx, &transfer, async |connection| {
        let debit = sqlx::query("UPDATE account SET cents = cents - $2 WHERE id = $1 AND cents >= $2");
        let debit = debit.bind(transfer.from).bind(transfer.cents).execute(&mut *connection).await?;
        if debit.rows_affected() == 0 {
            return Ok(false);
        }
        add(connection, ACCOUNTS + transfer.from, transfer.cents).await?;
        Ok(true)
    })
    .await
}

/// Undoes the action of this key, and leaves a tombstone for one that comes late. Returns true if there was an effect.
async fn undo(cx: &Context, connection: &mut PgConnection) -> Result<bool, StepError> {
    let tombstone = "INSERT INTO effect VALUES ($1, 'refused', true)
        ON CONFLICT (key) DO UPDATE SET undone = true WHERE NOT effect.undone RETURNING answer";
    let undone = sqlx::query_scalar(tombstone).bind(cx.action_key()).fetch_optional(connection).await?;
    Ok(undone.is_some_and(|answer: String| answer == "done"))
}

async fn release(cx: Context, transfer: Transfer, (): (), _: Option<String>) -> Result<(), StepError> {
    network(&cx, "request").await?;
    let mut transaction = cx.state().pool.begin().await?;
    if undo(&cx, &mut transaction).await? {
        add(&mut transaction, transfer.from, transfer.cents).await?;
        add(&mut transaction, ACCOUNTS + transfer.from, -transfer.cents).await?;
    }
    transaction.commit().await?;
    network(&cx, "answer").await
}

async fn check(cx: Context, transfer: Transfer, _: String) -> Result<String, StepError> {
    once(&cx, &transfer, async |_| Ok(true)).await
}

async fn forget(cx: Context, _: Transfer, _: String, _: Option<String>) -> Result<(), StepError> {
    network(&cx, "request").await?;
    undo(&cx, &mut *cx.state().pool.acquire().await?).await?;
    network(&cx, "answer").await
}

async fn settle(cx: Context, transfer: Transfer, _: (String, String)) -> Result<String, StepError> {
    once(&cx, &transfer, async |connection| {
        add(connection, transfer.to, transfer.cents).await?;
        add(connection, ACCOUNTS + transfer.from, -transfer.cents).await?;
        Ok(true)
    })
    .await
}

async fn notify(cx: Context, transfer: Transfer, _: String) -> Result<String, StepError> {
    once(&cx, &transfer, async |connection| {
        let notify = sqlx::query("UPDATE account SET notified = notified + 1 WHERE id = $1");
        notify.bind(transfer.to).execute(connection).await?;
        Ok(true)
    })
    .await
}
