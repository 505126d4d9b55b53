//! Claims: due instances first, then those of workers whose lease has expired.
//!
//! Follows `docs/sagas.md`, "Leases and recovery". Each statement reads from the position at which the last one stopped,
//! because before that the index is full of claimed rows until it is vacuumed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::connections::Connections;
use super::{most, signed, summaries, unreadable};
use crate::journal::{DefinitionKey, InstanceSummary, JournalError};

/// The positions at which the last claims of this process stopped.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The due time of the last claimed instance, while more may follow it; 0 starts from the earliest.
    due: AtomicI64,
    /// The last instance that was taken over, while more may follow.
    left: Mutex<Place>,
}

/// The place of an instance among those of all workers; the default one comes before all instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    owner: String,
    saga: String,
    version: i64,
    id: String,
}

impl Place {
    fn is_start(&self) -> bool {
        self.owner.is_empty()
    }

    /// Reads the place that an instance had before it was taken over.
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (owner, saga, version, id) =
            (row.try_get(10)?, row.try_get(1)?, row.try_get(2)?, row.try_get(0)?);
        Ok(Self { owner, saga, version, id })
    }
}

impl Claims {
    fn left(&self) -> MutexGuard<'_, Place> {
        // A poisoned lock is safe to use: no code below it panics halfway through a change.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker that claims, and the definitions that it has registered; `None` for all.
#[derive(Clone, Copy)]
pub(super) struct Request<'r> {
    pub(super) worker: &'r str,
    pub(super) definitions: Option<&'r [DefinitionKey]>,
}

impl<'r> Request<'r> {
    /// Returns the names and the versions of the definitions, or null for all.
    fn columns(self) -> (Option<Vec<&'r str>>, Option<Vec<i64>>) {
        self.definitions.map(|all| all.iter().map(|one| (&*one.saga, i64::from(one.version))).unzip()).unzip()
    }
}

/// Claims up to `limit` instances.
pub(super) async fn claim(
    connections: &Connections,
    claims: &Claims,
    request: Request<'_>,
    limit: usize,
) -> Result<Vec<InstanceSummary>, JournalError> {
    let mut given = Vec::new();
    // A takeover that is not finished continues first: a search for due instances would read all rows that it has
    // already claimed.
    let is_taking_over = !claims.left().is_start();
    if is_taking_over {
        take_over(connections, claims, request, limit, &mut given).await?;
    }
    if given.len() < limit {
        match take_due(connections, claims, request, limit - given.len()).await {
            Ok(due) => given.extend(due),
            // The instances that were claimed before the error have to be driven.
            Err(_) if !given.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    take_over(connections, claims, request, limit, &mut given).await?;
    given.sort_by_key(|summary| summary.due);
    Ok(given)
}

async fn take_due(
    connections: &Connections,
    claims: &Claims,
    request: Request<'_>,
    limit: usize,
) -> Result<Vec<InstanceSummary>, JournalError> {
    let from = claims.due.load(Ordering::Relaxed);
    let mut due = claim_due(connections, request, most(limit), from).await?;
    if due.is_empty() && from > 0 {
        due = claim_due(connections, request, most(limit), 0).await?;
    }
    let last = due.iter().map(|summary| summary.due).max().filter(|_| due.len() == limit);
    claims.due.store(last.map_or(0, signed), Ordering::Relaxed);
    Ok(due)
}

async fn claim_due(
    connections: &Connections,
    request: Request<'_>,
    limit: i64,
    from: i64,
) -> Result<Vec<InstanceSummary>, JournalError> {
    let (sagas, versions) = request.columns();
    let due = match sagas {
        None => sqlx::query(include_str!("sql/claim_free.sql")),
        Some(_) => sqlx::query(include_str!("sql/claim_free_definitions.sql")),
    };
    let mut due = due.bind(request.worker).bind(limit).bind(from);
    if let (Some(sagas), Some(versions)) = (sagas, versions) {
        due = due.bind(sagas).bind(versions);
    }
    summaries(&connections.once(due).await?)
}

/// Claims instances of dead workers until `given` has `limit`. Returns an error only if `given` is empty.
async fn take_over(
    connections: &Connections,
    claims: &Claims,
    request: Request<'_>,
    limit: usize,
    given: &mut Vec<InstanceSummary>,
) -> Result<(), JournalError> {
    while given.len() < limit {
        let ids: Vec<&str> = given.iter().map(|summary| &*summary.id).collect();
        match claim_left(connections, claims, request, most(limit - ids.len()), ids).await {
            Ok(left) if left.is_empty() => return Ok(()),
            Ok(left) => given.extend(left),
            // The instances that were claimed before the error have to be driven.
            Err(_) if !given.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Claims instances that a dead worker has of one definition, behind the position of the last takeover.
async fn claim_left(
    connections: &Connections,
    claims: &Claims,
    request: Request<'_>,
    limit: i64,
    but: Vec<&str>,
) -> Result<Vec<InstanceSummary>, JournalError> {
    let (sagas, versions) = request.columns();
    loop {
        let from = claims.left().clone();
        let left =
            sqlx::query(include_str!("sql/claim_left.sql")).bind(request.worker).bind(limit).bind(&but);
        let left = left.bind(&from.owner).bind(&from.saga).bind(from.version).bind(&from.id);
        let rows = connections.once(left.bind(&sagas).bind(&versions)).await?;
        let mut last = Place::default();
        for row in &rows {
            last = last.max(Place::read(row).map_err(unreadable)?);
        }
        *claims.left() = last;
        // No instance follows that position, but some may precede it: the loop starts again from the beginning.
        if !rows.is_empty() || from.is_start() {
            return summaries(&rows);
        }
    }
}
