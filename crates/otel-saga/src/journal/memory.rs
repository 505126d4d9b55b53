//! The journal in memory: for tests, and for sagas that need not survive the process.
//!
//! Reference for the other journals: the simplest implementation that passes their test suite.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    AppendError, Count, Created, Cursor, DefinitionKey, Header, Journal, JournalError, Loaded, NewInstance,
    Query, Status, Then, millis, now, unique,
};

/// A journal in memory, lost with the process.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    identity: String,
    instances: BTreeMap<String, Loaded>,
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
    /// Adds a running instance to `due` or `owned`, according to its header.
    fn wait(&mut self, header: &Header) {
        match &header.owner {
            _ if header.status != Status::Running => {}
            None => _ = self.due.insert((header.due, header.id.clone())),
            Some(owner) => _ = self.owned.entry(owner.clone()).or_default().insert(header.id.clone()),
        }
    }

    /// Returns the headers of the instances that could be claimed at this time.
    fn claimable(&self, at: u64) -> impl Iterator<Item = &Header> {
        let lives = move |owner: &str| self.leases.get(owner).is_some_and(|until| *until > at);
        let free = self.due.iter().take_while(move |(due, _)| *due <= at).map(|(_, id)| id);
        let left = self.owned.iter().filter(move |(owner, _)| !lives(owner)).flat_map(|(_, ids)| ids);
        free.chain(left).filter_map(|id| self.instances.get(id)).map(|one| &one.header)
    }

    /// Removes an instance from `due` or `owned`, according to its header.
    fn leave(&mut self, header: &Header) {
        let Some(owner) = &header.owner else {
            self.due.remove(&(header.due, header.id.clone()));
            return;
        };
        if let Some(ids) = self.owned.get_mut(owner) {
            ids.remove(&header.id);
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
    async fn create(&self, instance: NewInstance) -> Result<Created, JournalError> {
        let mut kept = self.kept();
        if kept.instances.contains_key(&instance.id) {
            return Ok(Created::Exists);
        }
        let header = Header::new(&instance, now());
        let cursor = header.cursor();
        kept.wait(&header);
        kept.instances.insert(instance.id, Loaded { header, records: instance.records });
        Ok(Created::New(cursor))
    }

    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        then: Then,
    ) -> Result<Cursor, AppendError> {
        let mut kept = self.kept();
        let Loaded { header, records: kept_records } =
            kept.instances.get_mut(id).ok_or(AppendError::Fenced)?;
        // Most appends leave the owner unchanged, and with it the index.
        let before = (then != Then::Continue || header.owner.is_none()).then(|| header.clone());
        if !header.advance(at, records.len(), then, now()) {
            return Err(AppendError::Fenced);
        }
        kept_records.extend(records);
        let cursor = header.cursor();
        if let Some(before) = before {
            let after = header.clone();
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
        let Loaded { header, records: kept_records } =
            kept.instances.get_mut(id).ok_or(AppendError::Fenced)?;
        if !header.replace(at, from, records.len(), now()) {
            return Err(AppendError::Fenced);
        }
        // `from` is at most the number of records, which fits.
        kept_records.truncate(usize::try_from(from).unwrap_or(usize::MAX));
        kept_records.extend(records);
        Ok(header.cursor())
    }

    async fn load(&self, id: &str) -> Result<Option<Loaded>, JournalError> {
        Ok(self.kept().instances.get(id).cloned())
    }

    async fn header(&self, id: &str) -> Result<Option<Header>, JournalError> {
        Ok(self.kept().instances.get(id).map(|one| one.header.clone()))
    }

    async fn claim(
        &self,
        worker: &str,
        definitions: Option<&[DefinitionKey]>,
        limit: usize,
    ) -> Result<Vec<Header>, JournalError> {
        let mut kept = self.kept();
        let claimable = kept.claimable(now()).filter(|header| DefinitionKey::selects(definitions, header));
        let ids: Vec<String> = claimable.take(limit).map(|header| header.id.clone()).collect();
        let mut given = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(Loaded { header, .. }) = kept.instances.get_mut(&id) else { continue };
            let before = header.clone();
            header.give_to(worker);
            let after = header.clone();
            kept.leave(&before);
            kept.wait(&after);
            given.push(after);
        }
        Ok(given)
    }

    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<Header>, JournalError> {
        let kept = self.kept();
        let unchanged = kept.claimable(since).filter(|header| header.changed <= since);
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

    async fn list(&self, query: &Query) -> Result<Vec<Header>, JournalError> {
        let kept = self.kept();
        let from = query.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let headers = kept.instances.range::<str, _>((from, Bound::Unbounded)).map(|(_, one)| &one.header);
        Ok(headers.filter(|header| query.takes(header)).take(query.limit()).cloned().collect())
    }

    async fn counts(&self) -> Result<Vec<Count>, JournalError> {
        let kept = self.kept();
        let mut counts: BTreeMap<(&str, Status), (u64, u64)> = BTreeMap::new();
        for Loaded { header, .. } in kept.instances.values() {
            let (count, oldest) = counts.entry((&header.saga, header.status)).or_insert((0, u64::MAX));
            *count += 1;
            *oldest = header.created.min(*oldest);
        }
        let counts = counts.into_iter();
        Ok(counts
            .map(|((saga, status), (count, oldest))| Count { saga: saga.to_owned(), status, count, oldest })
            .collect())
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        let mut kept = self.kept();
        let ended = kept.instances.values().map(|one| &one.header);
        let ended = ended.filter(|header| header.status.is_finished() && header.changed < ended_before);
        let ids: Vec<String> = ended.take(limit).map(|header| header.id.clone()).collect();
        for id in &ids {
            kept.instances.remove(id);
        }
        Ok(ids.len() as u64)
    }
}
