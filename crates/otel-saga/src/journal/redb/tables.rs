//! What is in the file: headers, records, and who waits for what. Every value carries a checksum over itself and its key.
//!
//! Follows DESIGN.md, "Sagas": of damaged files, redb gives wrong bytes for some without noticing.

use std::collections::BTreeMap;

use redb::{ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};

use crate::error::BoxError;
use crate::journal::{Count, Header, JournalError, Query, Status};

const HEADERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("headers");
const RECORDS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("records");
/// Running instances without a worker, by when they are due.
const DUE: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("due");
/// Running instances with a worker, by its name.
const OWNED: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("owned");
/// Instances that have ended, by when they did.
const ENDED: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("ended");

/// Why a job was not done.
pub(super) enum Fault {
    /// The transaction cannot go on.
    Storage(BoxError),
    /// What this instance was written as is not what is read; others are not affected.
    Damaged(String),
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Fault> for JournalError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Storage(error) => Self::Failed(error),
            Fault::Damaged(at) => Self::Damaged { at },
        }
    }
}

pub(super) struct Tables<'t> {
    headers: Table<'t, &'static str, &'static [u8]>,
    records: Table<'t, (&'static str, u64), &'static [u8]>,
    due: Table<'t, (u64, &'static str), ()>,
    owned: Table<'t, (&'static str, &'static str), ()>,
    ended: Table<'t, (u64, &'static str), ()>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            headers: transaction.open_table(HEADERS)?,
            records: transaction.open_table(RECORDS)?,
            due: transaction.open_table(DUE)?,
            owned: transaction.open_table(OWNED)?,
            ended: transaction.open_table(ENDED)?,
        })
    }

    pub(super) fn header(&self, id: &str) -> Result<Option<Header>, Fault> {
        let Some(kept) = self.headers.get(id)? else { return Ok(None) };
        read_header(id, kept.value()).map(Some)
    }

    /// Writes a header in place of the one that was there before.
    pub(super) fn put_header(&mut self, before: Option<&Header>, header: &Header) -> Result<(), Fault> {
        if let Some(before) = before {
            self.forget_place(before)?;
        }
        let id = &*header.id;
        match (header.status, &header.owner) {
            (Status::Running, None) => _ = self.due.insert((header.due, id), ())?,
            (Status::Running, Some(owner)) => _ = self.owned.insert((&**owner, id), ())?,
            (Status::Parked, _) => {}
            (Status::Completed | Status::Compensated, _) => {
                _ = self.ended.insert((header.changed, id), ())?
            }
        }
        let text = serde_json::to_vec(header).map_err(|error| Fault::Storage(error.into()))?;
        self.headers.insert(id, &*sealed(id, u64::MAX, &text))?;
        Ok(())
    }

    fn forget_place(&mut self, header: &Header) -> Result<(), Fault> {
        let id = &*header.id;
        match (header.status, &header.owner) {
            (Status::Running, None) => _ = self.due.remove((header.due, id))?,
            (Status::Running, Some(owner)) => _ = self.owned.remove((&**owner, id))?,
            (Status::Parked, _) => {}
            (Status::Completed | Status::Compensated, _) => _ = self.ended.remove((header.changed, id))?,
        }
        Ok(())
    }

    pub(super) fn put_records(&mut self, id: &str, from: u64, records: &[Vec<u8>]) -> Result<(), Fault> {
        for (place, record) in (from..).zip(records) {
            self.records.insert((id, place), &*sealed(id, place, record))?;
        }
        Ok(())
    }

    /// All records of this instance, which are as many as its header says.
    pub(super) fn records(&self, header: &Header) -> Result<Vec<Vec<u8>>, Fault> {
        let id = &*header.id;
        let mut records = Vec::new();
        for kept in self.records.range((id, 0)..=(id, u64::MAX))? {
            let (key, value) = kept?;
            let place = key.value().1;
            if place != records.len() as u64 {
                return Err(Fault::Damaged(id.to_owned()));
            }
            records.push(opened(id, place, value.value())?.to_vec());
        }
        if records.len() as u64 != header.head {
            return Err(Fault::Damaged(id.to_owned()));
        }
        Ok(records)
    }

    /// Ids of running instances that are due and free, those that wait longest first; then those of dead workers.
    pub(super) fn claimable(
        &self,
        now: u64,
        limit: usize,
        lives: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, Fault> {
        let mut ids = Vec::new();
        for kept in self.due.range(..(now.saturating_add(1), ""))?.take(limit) {
            ids.push(kept?.0.value().1.to_owned());
        }
        let mut from = (String::new(), String::new());
        while ids.len() < limit {
            let Some(next) = self.owned.range((&*from.0, &*from.1)..)?.next() else { break };
            let (key, _) = next?;
            let (owner, id) = key.value();
            if lives(owner) {
                // On to the next owner.
                from = (format!("{owner}\0"), String::new());
            } else {
                ids.push(id.to_owned());
                from = (owner.to_owned(), format!("{id}\0"));
            }
        }
        Ok(ids)
    }

    /// The instance is not claimed any more.
    pub(super) fn forget_waiting(&mut self, id: &str) -> Result<(), Fault> {
        self.due.retain(|(_, waiting), ()| waiting != id)?;
        self.owned.retain(|(_, owned), ()| owned != id)?;
        Ok(())
    }

    pub(super) fn list(&self, query: &Query) -> Result<Vec<Header>, Fault> {
        let after = query.after.as_ref().map_or(String::new(), |after| format!("{after}\0"));
        let mut headers = Vec::new();
        for kept in self.headers.range(&*after..)? {
            let (id, value) = kept?;
            // One that is damaged does not hide the others; whoever loads it is told.
            if let Ok(header) = read_header(id.value(), value.value())
                && query.takes(&header)
            {
                headers.push(header);
                if headers.len() == query.limit() {
                    break;
                }
            }
        }
        Ok(headers)
    }

    pub(super) fn counts(&self) -> Result<Vec<Count>, Fault> {
        let mut counts: BTreeMap<(String, Status), (u64, u64)> = BTreeMap::new();
        for kept in self.headers.iter()? {
            let (id, value) = kept?;
            let Ok(header) = read_header(id.value(), value.value()) else { continue };
            let (count, oldest) = counts.entry((header.saga, header.status)).or_insert((0, u64::MAX));
            *count += 1;
            *oldest = header.created.min(*oldest);
        }
        let counts = counts.into_iter();
        Ok(counts.map(|((saga, status), (count, oldest))| Count { saga, status, count, oldest }).collect())
    }

    pub(super) fn prune(&mut self, ended_before: u64, limit: usize) -> Result<u64, Fault> {
        let mut ids = Vec::new();
        for kept in self.ended.range(..(ended_before, ""))?.take(limit) {
            let (key, _) = kept?;
            let (at, id) = key.value();
            ids.push((at, id.to_owned()));
        }
        for (at, id) in &ids {
            self.ended.remove((*at, &**id))?;
            self.headers.remove(&**id)?;
            self.records.retain_in((&**id, 0)..=(&**id, u64::MAX), |_, _| false)?;
        }
        Ok(ids.len() as u64)
    }
}

fn read_header(id: &str, value: &[u8]) -> Result<Header, Fault> {
    let damaged = || Fault::Damaged(id.to_owned());
    let header: Header = serde_json::from_slice(opened(id, u64::MAX, value)?).map_err(|_| damaged())?;
    if header.id == id { Ok(header) } else { Err(damaged()) }
}

/// The value behind its checksum, which is over the key as well: a value in another's place is damage.
fn sealed(id: &str, place: u64, value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(value.len() + 4);
    sealed.extend_from_slice(&checksum(id, place, value).to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

fn opened<'v>(id: &str, place: u64, sealed: &'v [u8]) -> Result<&'v [u8], Fault> {
    match sealed.split_first_chunk::<4>() {
        Some((sum, value)) if u32::from_le_bytes(*sum) == checksum(id, place, value) => Ok(value),
        _ => Err(Fault::Damaged(id.to_owned())),
    }
}

fn checksum(id: &str, place: u64, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.to_le_bytes());
    hasher.update(id.as_bytes());
    hasher.update(value);
    hasher.finalize()
}
