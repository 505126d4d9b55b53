//! The journal in memory: for tests, and for sagas that need not survive the process.
//!
//! Reference for the other journals: the simplest implementation that passes their test suite.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    AfterAppend, AppendError, CreateOutcome, Cursor, DefinitionKey, InstanceCount, InstanceSummary, Journal,
    JournalError, NewInstance, Query, Status, StoredInstance, millis, now, unique,
};

/// A journal in memory, lost with the process.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    identity: String,
    instances: BTreeMap<String, StoredInstance>,
    /// Running instances without an owner, by due time.
    due: BTreeSet<(u64, String)>,
    /// Running instances by their owner.
    owned: BTreeMap<String, BTreeSet<String>>,
    /// The expiry of each worker's lease, in milliseconds since the Unix epoch.
    leases: HashMap<String, u64>,
}

impl Default for Kept {
    fn default() -> Self {
        let (instances, due, owned, leases) =
            (BTreeMap::new(), BTreeSet::new(), BTreeMap::new(), HashMap::new());
        Self { identity: unique(), instances, due, owned, leases }
    }
}

impl Kept {
    /// Adds a running instance to `due` or `owned`, according to its summary.
    fn wait(&mut self, summary: &InstanceSummary) {
        match &summary.owner {
            _ if summary.status != Status::Running => {}
            None => _ = self.due.insert((summary.due, summary.id.clone())),
            Some(owner) => _ = self.owned.entry(owner.clone()).or_default().insert(summary.id.clone()),
        }
    }

    /// Returns the summaries of the instances that could be claimed at this time.
    fn claimable(&self, at: u64) -> impl Iterator<Item = &InstanceSummary> {
        let lives = move |owner: &str| self.leases.get(owner).is_some_and(|until| *until > at);
        let free = self.due.iter().take_while(move |(due, _)| *due <= at).map(|(_, id)| id);
        let left = self.owned.iter().filter(move |(owner, _)| !lives(owner)).flat_map(|(_, ids)| ids);
        free.chain(left).filter_map(|id| self.instances.get(id)).map(|one| &one.summary)
    }

    /// Removes an instance from `due` or `owned`, according to its summary.
    fn leave(&mut self, summary: &InstanceSummary) {
        let Some(owner) = &summary.owner else {
            self.due.remove(&(summary.due, summary.id.clone()));
            return;
        };
        if let Some(ids) = self.owned.get_mut(owner) {
            ids.remove(&summary.id);
            if ids.is_empty() {
                self.owned.remove(owner);
            }
        }
    }
}

impl MemoryJournal {
    /// Creates an empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A poisoned lock is safe to use: no code below it panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError> {
        let mut kept = self.kept();
        if kept.instances.contains_key(&instance.id) {
            return Ok(CreateOutcome::Exists);
        }
        let summary = InstanceSummary::new(&instance, now());
        let cursor = summary.cursor();
        kept.wait(&summary);
        kept.instances.insert(instance.id, StoredInstance { summary, records: instance.records });
        Ok(CreateOutcome::New(cursor))
    }

    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
    ) -> Result<Cursor, AppendError> {
        let mut kept = self.kept();
        let StoredInstance { summary, records: kept_records } =
            kept.instances.get_mut(id).ok_or(AppendError::Fenced)?;
        // Most appends leave the owner unchanged, and with it the index.
        let before =
            (after_append != AfterAppend::Continue || summary.owner.is_none()).then(|| summary.clone());
        if !summary.advance(at, records.len(), after_append, now()) {
            return Err(AppendError::Fenced);
        }
        kept_records.extend(records);
        let cursor = summary.cursor();
        if let Some(before) = before {
            let after = summary.clone();
            kept.leave(&before);
            kept.wait(&after);
        }
        Ok(cursor)
    }

    async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<Cursor, AppendError> {
        let mut kept = self.kept();
        let StoredInstance { summary, records: kept_records } =
            kept.instances.get_mut(id).ok_or(AppendError::Fenced)?;
        if !summary.replace(at, from, records.len(), now()) {
            return Err(AppendError::Fenced);
        }
        // `from` is at most the number of records, which fits.
        kept_records.truncate(usize::try_from(from).unwrap_or(usize::MAX));
        kept_records.extend(records);
        Ok(summary.cursor())
    }

    async fn load(&self, id: &str) -> Result<Option<StoredInstance>, JournalError> {
        Ok(self.kept().instances.get(id).cloned())
    }

    async fn summary(&self, id: &str) -> Result<Option<InstanceSummary>, JournalError> {
        Ok(self.kept().instances.get(id).map(|one| one.summary.clone()))
    }

    async fn claim(
        &self,
        worker: &str,
        definitions: Option<&[DefinitionKey]>,
        limit: usize,
    ) -> Result<Vec<InstanceSummary>, JournalError> {
        let mut kept = self.kept();
        let claimable = kept.claimable(now()).filter(|summary| DefinitionKey::selects(definitions, summary));
        let ids: Vec<String> = claimable.take(limit).map(|summary| summary.id.clone()).collect();
        let mut given = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(StoredInstance { summary, .. }) = kept.instances.get_mut(&id) else { continue };
            let before = summary.clone();
            summary.give_to(worker);
            let after = summary.clone();
            kept.leave(&before);
            kept.wait(&after);
            given.push(after);
        }
        Ok(given)
    }

    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<InstanceSummary>, JournalError> {
        let kept = self.kept();
        let unchanged = kept.claimable(since).filter(|summary| summary.changed <= since);
        Ok(unchanged.take(limit).cloned().collect())
    }

    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        let until = now().saturating_add(millis(lease));
        self.kept().leases.insert(worker.to_owned(), until);
        Ok(())
    }

    async fn is_first(&self, worker: &str) -> Result<bool, JournalError> {
        let (kept, now) = (self.kept(), now());
        let first = kept.leases.iter().filter(|(_, until)| **until > now).map(|(name, _)| name).min();
        Ok(first.is_some_and(|first| first == worker))
    }

    async fn identity(&self) -> Result<Option<String>, JournalError> {
        Ok(Some(self.kept().identity.clone()))
    }

    async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, JournalError> {
        let kept = self.kept();
        let from = query.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let summaries = kept.instances.range::<str, _>((from, Bound::Unbounded)).map(|(_, one)| &one.summary);
        Ok(summaries.filter(|summary| query.takes(summary)).take(query.limit()).cloned().collect())
    }

    async fn counts(&self) -> Result<Vec<InstanceCount>, JournalError> {
        let kept = self.kept();
        let mut counts: BTreeMap<(&str, Status), (u64, u64)> = BTreeMap::new();
        for StoredInstance { summary, .. } in kept.instances.values() {
            let (count, oldest) = counts.entry((&summary.saga, summary.status)).or_insert((0, u64::MAX));
            *count += 1;
            *oldest = summary.created.min(*oldest);
        }
        let counts = counts.into_iter();
        Ok(counts
            .map(|((saga, status), (count, oldest))| InstanceCount {
                saga: saga.to_owned(),
                status,
                count,
                oldest,
            })
            .collect())
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        let mut kept = self.kept();
        let ended = kept.instances.values().map(|one| &one.summary);
        let ended = ended.filter(|summary| summary.status.is_finished() && summary.changed < ended_before);
        let ids: Vec<String> = ended.take(limit).map(|summary| summary.id.clone()).collect();
        for id in &ids {
            kept.instances.remove(id);
        }
        Ok(ids.len() as u64)
    }
}
