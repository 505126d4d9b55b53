//! The journal in one file: redb, written by one thread that commits all queued jobs together.
//!
//! Follows `docs/sagas.md`, "Group commit" and "Damage and outages": appends that arrive during one fsync share the
//! next; each value has a checksum; repair is quick; a file that failed is opened again.

mod backend;
mod rows;
mod tables;
mod thread;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use self::tables::{Fault, Tables};
use self::thread::{Leases, Thread};
use super::{
    AfterAppend, AppendError, CreateOutcome, Cursor, DefinitionKey, InstanceCount, InstanceSummary, Journal,
    JournalError, NewInstance, Query, StoredInstance, millis, now, unique,
};
use crate::error::BoxError;

/// A journal in one file, for one process at a time.
///
/// The file is locked exclusively while it is open, also against readers. Every change is on the disk when its call
/// returns. Leases are kept in memory only: a process that opens the file is alone, and can claim the instances of
/// earlier workers at once.
pub struct RedbJournal {
    path: PathBuf,
    thread: Thread,
}

/// The reason for which a journal's file was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is open in another process, or in another journal of this process.
    #[error("`{}` is in use", path.display())]
    InUse {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file cannot be opened or created, is not a journal, or is damaged.
    #[error("`{}` cannot be opened", path.display())]
    Failed {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: BoxError,
    },
}

impl RedbJournal {
    /// Opens a journal, and creates the file if it does not exist. Blocks the thread while it does so.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_path_buf();
        Ok(Self { thread: Thread::open(&path)?, path })
    }

    /// Returns the number of syncs of the file since the journal was opened: two for each commit, which all queued
    /// appends share.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.thread.disk().syncs()
    }

    async fn call<T: Send + 'static>(
        &self,
        writes: bool,
        job: impl FnOnce(&mut Tables<'_>, &mut Leases) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.thread.call(writes, job).await
    }
}

#[async_trait]
impl Journal for RedbJournal {
    async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError> {
        let now = now();
        self.call(true, move |tables, _| {
            if tables.find(&instance.id)?.is_some() {
                return Ok(CreateOutcome::Exists);
            }
            let summary = InstanceSummary::new(&instance, now);
            tables.create(&summary, &instance.records)?;
            Ok(CreateOutcome::New(summary.cursor()))
        })
        .await
    }

    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
    ) -> Result<Cursor, AppendError> {
        let (now, id) = (now(), id.to_owned());
        let appended = self.call(true, move |tables, _| {
            let Some(before) = tables.find(&id)? else { return Ok(None) };
            let mut summary = before.summary.clone();
            if !summary.advance(at, records.len(), after_append, now) {
                return Ok(None);
            }
            tables.change(&before, &summary, &records)?;
            Ok(Some(summary.cursor()))
        });
        appended.await?.ok_or(AppendError::Fenced)
    }

    async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<Cursor, AppendError> {
        let (now, id) = (now(), id.to_owned());
        let replaced = self.call(true, move |tables, _| {
            let Some(before) = tables.find(&id)? else { return Ok(None) };
            let mut summary = before.summary.clone();
            if !summary.replace(at, from, records.len(), now) {
                return Ok(None);
            }
            tables.replace(&before, &summary, from, records)?;
            Ok(Some(summary.cursor()))
        });
        replaced.await?.ok_or(AppendError::Fenced)
    }

    async fn load(&self, id: &str) -> Result<Option<StoredInstance>, JournalError> {
        let id = id.to_owned();
        self.call(false, move |tables, _| {
            let Some(kept) = tables.find(&id)? else { return Ok(None) };
            let records = tables.records(&kept)?;
            Ok(Some(StoredInstance { summary: kept.summary, records }))
        })
        .await
    }

    async fn summary(&self, id: &str) -> Result<Option<InstanceSummary>, JournalError> {
        let id = id.to_owned();
        self.call(false, move |tables, _| Ok(tables.find(&id)?.map(|kept| kept.summary))).await
    }

    async fn claim(
        &self,
        worker: &str,
        definitions: Option<&[DefinitionKey]>,
        limit: usize,
    ) -> Result<Vec<InstanceSummary>, JournalError> {
        let (now, worker) = (now(), worker.to_owned());
        let definitions = definitions.map(<[_]>::to_vec);
        self.call(true, move |tables, leases| {
            let mut given = Vec::new();
            let lives = |owner: &str| leases.lives(owner, now);
            let selects = |summary: &InstanceSummary| DefinitionKey::selects(definitions.as_deref(), summary);
            let (claimable, damaged) = tables.claimable(now, limit, lives, selects)?;
            // An unreadable instance leaves the indexes of claims, so that it does not block the others.
            for number in damaged {
                tables.forget_waiting(number)?;
            }
            for before in claimable {
                let mut summary = before.summary.clone();
                summary.give_to(&worker);
                tables.change(&before, &summary, &[])?;
                given.push(summary);
            }
            Ok(given)
        })
        .await
    }

    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<InstanceSummary>, JournalError> {
        self.call(false, move |tables, leases| {
            let lives = |owner: &str| leases.lives(owner, since);
            let (unclaimed, _) = tables.claimable(since, limit, lives, |summary| summary.changed <= since)?;
            Ok(unclaimed.into_iter().map(|kept| kept.summary).collect())
        })
        .await
    }

    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        let (until, worker) = (now().saturating_add(millis(lease)), worker.to_owned());
        self.call(false, move |_, leases| {
            leases.set(worker, until);
            Ok(())
        })
        .await
    }

    async fn is_first(&self, worker: &str) -> Result<bool, JournalError> {
        let (now, worker) = (now(), worker.to_owned());
        self.call(false, move |_, leases| Ok(leases.is_first(&worker, now))).await
    }

    async fn identity(&self) -> Result<Option<String>, JournalError> {
        self.call(true, |tables, _| tables.identity(unique())).await.map(Some)
    }

    async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, JournalError> {
        let query = query.clone();
        self.call(false, move |tables, _| tables.list(&query)).await
    }

    async fn counts(&self) -> Result<Vec<InstanceCount>, JournalError> {
        self.call(false, |tables, _| tables.counts()).await
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        self.call(true, move |tables, _| tables.prune(ended_before, limit)).await
    }
}

impl fmt::Debug for RedbJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedbJournal").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests;
