//! The journal in Postgres, for several workers, each of which has a lease.
//!
//! Follows `docs/sagas.md`, "Group commit" and "Leases and recovery": appends are written in batches, and a claim
//! skips rows that another claim has locked.
//!
//! All times in the tables follow the server's clock. Leases do, because the expiry of a lease must not depend on the
//! clock of the worker that checks it. Due times do as well: a worker sends a delay, not a time. Workers whose clocks
//! differ therefore neither take over each other's instances nor start attempts early. Times in records follow the
//! worker's clock.

mod claim;
mod connections;
mod options;
mod replace;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use self::claim::{Claims, Request};
use self::connections::Connections;
pub use self::options::{PostgresError, PostgresOptions};
use self::writer::{Work, Writer};
use super::{
    AfterAppend, AppendError, CreateOutcome, Cursor, DefinitionKey, InstanceCount, InstanceSummary, Journal,
    JournalError, LeaseRenewal, NewInstance, Query, Status, StoredInstance, millis, now,
};

/// A journal in Postgres 15 or later, for any number of workers.
///
/// [`PostgresOptions`] open it. Every change is on the server's disk when its call returns. While Postgres is
/// unavailable, calls fail at once or at their time-out; they succeed again when it is back.
///
/// ```no_run
/// use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
///
/// use otel_saga::journal::{Journal, PostgresError, PostgresOptions};
///
/// async fn open() -> Result<Arc<dyn Journal>, PostgresError> {
///     let options = PostgresOptions::new("postgres://shop@db/shop")?.with_schema("saga");
///     options.migrate().await?;
///     Ok(Arc::new(options.connect().await?))
/// }
/// ```
///
/// Ids, saga names and worker names must not contain NUL, and an id has at most 1000 bytes.
pub struct PostgresJournal {
    /// The server and the schema, for `Debug`.
    place: String,
    connections: Arc<Connections>,
    writer: Writer,
    claims: Claims,
}

impl PostgresJournal {
    fn new(connections: Connections, place: String) -> Self {
        let connections = Arc::new(connections);
        Self { place, writer: Writer::spawn(&connections), connections, claims: Claims::default() }
    }
}

#[async_trait]
impl Journal for PostgresJournal {
    async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError> {
        self.writer.create(instance).await
    }

    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
    ) -> Result<Cursor, AppendError> {
        let after = Cursor::new(at.head + records.len() as u64, at.epoch);
        let delay = match after_append {
            AfterAppend::Runnable { at } => Some(signed(at).saturating_sub(signed(now()))),
            _ => None,
        };
        let done =
            self.writer.call(Work::Append { id: id.to_owned(), at, records, after_append, delay }).await?;
        if done { Ok(after) } else { Err(AppendError::Fenced) }
    }

    async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<Cursor, AppendError> {
        replace::replace(&self.connections, id, at, from, records).await
    }

    async fn load(&self, id: &str) -> Result<Option<StoredInstance>, JournalError> {
        let load = || sqlx::query(include_str!("postgres/sql/load.sql")).bind(id);
        let rows = self.connections.repeatable(load).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let summary = summary(row)?;
        let records: Vec<Vec<u8>> = row.try_get(10).map_err(unreadable)?;
        let last: Option<i64> = row.try_get(11).map_err(unreadable)?;
        // The positions are unique, so that the count and the last position together rule out gaps.
        let next = last.map_or(0, |last| unsigned(last) + 1);
        if records.len() as u64 != summary.head || next != summary.head {
            return Err(JournalError::Damaged { at: summary.id });
        }
        Ok(Some(StoredInstance { summary, records }))
    }

    async fn summary(&self, id: &str) -> Result<Option<InstanceSummary>, JournalError> {
        let find = || sqlx::query(include_str!("postgres/sql/summary.sql")).bind(id);
        self.connections.repeatable(find).await?.first().map(summary).transpose()
    }

    async fn claim(
        &self,
        worker: &str,
        definitions: Option<&[DefinitionKey]>,
        limit: usize,
    ) -> Result<Vec<InstanceSummary>, JournalError> {
        claim::claim(&self.connections, &self.claims, Request { worker, definitions }, limit).await
    }

    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<InstanceSummary>, JournalError> {
        let age = signed(now()).saturating_sub(signed(since));
        let unclaimed =
            || sqlx::query(include_str!("postgres/sql/unclaimed.sql")).bind(age).bind(most(limit));
        summaries(&self.connections.repeatable(unclaimed).await?)
    }

    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        renew(&self.connections, worker, lease).await
    }

    fn lease_renewal(&self) -> Option<Box<dyn LeaseRenewal>> {
        Some(Box::new(Renewal(self.connections.separate(1))))
    }

    async fn is_first(&self, worker: &str) -> Result<bool, JournalError> {
        let is_first = || sqlx::query(include_str!("postgres/sql/is_first.sql")).bind(worker);
        let rows = self.connections.repeatable(is_first).await?;
        rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(unreadable)
    }

    async fn identity(&self) -> Result<Option<String>, JournalError> {
        let rows = self.connections.repeatable(|| sqlx::query("SELECT id FROM identity")).await?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(unreadable)
    }

    async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, JournalError> {
        let statuses: Vec<i16> = match query.status {
            Some(status) => vec![status_code(status)],
            None => Status::ALL.into_iter().map(status_code).collect(),
        };
        let limit = i64::try_from(query.limit()).unwrap_or(i64::MAX);
        let list = || {
            let sql = match (&query.saga, query.status) {
                (Some(_), _) => include_str!("postgres/sql/list_saga.sql"),
                (None, Some(_)) => include_str!("postgres/sql/list_status.sql"),
                (None, None) => include_str!("postgres/sql/list.sql"),
            };
            let list = sqlx::query(sql).bind(query.after.as_deref().unwrap_or_default()).bind(limit);
            match (&query.saga, query.status) {
                (Some(saga), _) => list.bind(saga).bind(&statuses),
                (None, Some(status)) => list.bind(status_code(status)),
                (None, None) => list,
            }
        };
        summaries(&self.connections.repeatable(list).await?)
    }

    async fn counts(&self) -> Result<Vec<InstanceCount>, JournalError> {
        let count = || sqlx::query(include_str!("postgres/sql/counts.sql"));
        let rows = self.connections.repeatable(count).await?;
        let count = |row: &PgRow| {
            Ok(InstanceCount {
                saga: row.try_get(0)?,
                status: status(row.try_get(1)?)?,
                count: unsigned(row.try_get(2)?),
                oldest: unsigned(row.try_get(3)?),
            })
        };
        rows.iter().map(|row| count(row).map_err(unreadable)).collect()
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        let age = signed(now()).saturating_sub(signed(ended_before));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let prune = sqlx::query(include_str!("postgres/sql/prune.sql")).bind(age).bind(limit);
        let rows = self.connections.once(prune).await?;
        let pruned: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(unreadable)?;
        Ok(unsigned(pruned))
    }
}

/// Renews leases on a connection of its own, which is opened in the runtime of the first call.
#[derive(Debug)]
struct Renewal(Connections);

#[async_trait]
impl LeaseRenewal for Renewal {
    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        renew(&self.0, worker, lease).await
    }
}

async fn renew(connections: &Connections, worker: &str, lease: Duration) -> Result<(), JournalError> {
    let lease = signed(millis(lease));
    let renew = || sqlx::query(include_str!("postgres/sql/renew.sql")).bind(worker).bind(lease);
    connections.repeatable(renew).await?;
    Ok(())
}

impl fmt::Debug for PostgresJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresJournal").field(&self.place).finish()
    }
}

fn summaries(rows: &[PgRow]) -> Result<Vec<InstanceSummary>, JournalError> {
    rows.iter().map(summary).collect()
}

fn summary(row: &PgRow) -> Result<InstanceSummary, JournalError> {
    let read = || {
        Ok(InstanceSummary {
            id: row.try_get(0)?,
            saga: row.try_get(1)?,
            version: u32::try_from(row.try_get::<i64, _>(2)?).map_err(decode)?,
            status: status(row.try_get(3)?)?,
            created: unsigned(row.try_get(4)?),
            changed: unsigned(row.try_get(5)?),
            due: unsigned(row.try_get(6)?),
            owner: row.try_get(7)?,
            head: unsigned(row.try_get(8)?),
            epoch: unsigned(row.try_get(9)?),
        })
    };
    read().map_err(unreadable)
}

/// Only tables that another program has changed cause this.
fn unreadable(error: sqlx::Error) -> JournalError {
    JournalError::Failed(error.into())
}

fn decode(error: impl Into<crate::error::BoxError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// The codes of `postgres/sql/1.sql`.
fn status_code(status: Status) -> i16 {
    match status {
        Status::Running => 0,
        Status::Parked => 1,
        Status::Completed => 2,
        Status::Compensated => 3,
    }
}

fn status(code: i16) -> Result<Status, sqlx::Error> {
    let known = Status::ALL.into_iter().find(|status| status_code(*status) == code);
    known.ok_or_else(|| decode(format!("{code} is no status")))
}

fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
