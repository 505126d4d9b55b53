//! The tables of the file: summaries, records, and the indexes by which instances are claimed and listed.
//!
//! Instances and appends are numbered in the order of their arrival and stored in this order. Instances that are
//! active at the same time therefore share few pages, whatever their ids are, and a transaction writes few pages.

mod replace;

use redb::{ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};

use super::rows::{joined, numbered, opened, sealed, split_backward, split_number};
use crate::error::BoxError;
use crate::journal::{InstanceCount, InstanceSummary, JournalError, Query, Status};

/// The numbers of instances, by id.
const IDS: TableDefinition<'_, &str, u64> = TableDefinition::new("ids");
/// The number of the last row and the summary, by the number of the instance.
const SUMMARIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("headers");
/// The records of one append, and the number of the instance's previous row, by the number of the row.
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
/// Running instances without a worker, by due time.
const DUE: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("due");
/// Running instances with a worker, by its name.
const OWNED: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("owned");
/// Instances that have ended, by the time of their end.
const ENDED: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("ended");
/// All instances, by saga, status and time of creation: the first of each saga and status is the oldest.
const STATES: TableDefinition<'_, (&str, &str, u64, u64), ()> = TableDefinition::new("states");
/// The number of instances of each saga and status, so that counting does not scan the instances.
const COUNTS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("counts");

/// The identity of the journal, by `identity`.
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");

/// The absence of a row: rows are numbered from 1.
const NO_ROW: u64 = 0;
/// The second half of the key that a summary's checksum covers.
const SUMMARY: u64 = u64::MAX;
/// Up to this number, the selected instances are read by index and sorted in memory instead of scanning all ids.
const FEW: u64 = 4096;

/// The error of a job.
pub(super) enum Fault {
    /// The transaction cannot continue.
    Storage(BoxError),
    /// The data of this instance is not the data that was written; other instances are not affected.
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

/// An instance as stored in the file.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) summary: InstanceSummary,
    number: u64,
    last_row: u64,
}

/// The index that holds an instance.
#[derive(PartialEq, Eq)]
enum Place<'h> {
    Due(u64),
    Owned(&'h str),
    Ended(u64),
    Nowhere,
}

fn place(summary: &InstanceSummary) -> Place<'_> {
    match (summary.status, &summary.owner) {
        (Status::Running, None) => Place::Due(summary.due),
        (Status::Running, Some(owner)) => Place::Owned(owner),
        (Status::Parked, _) => Place::Nowhere,
        (Status::Completed | Status::Compensated, _) => Place::Ended(summary.changed),
    }
}

pub(super) struct Tables<'t> {
    ids: Table<'t, &'static str, u64>,
    summaries: Table<'t, u64, &'static [u8]>,
    rows: Table<'t, u64, &'static [u8]>,
    due: Table<'t, (u64, u64), ()>,
    owned: Table<'t, (&'static str, u64), ()>,
    ended: Table<'t, (u64, u64), ()>,
    states: Table<'t, (&'static str, &'static str, u64, u64), ()>,
    counts: Table<'t, (&'static str, &'static str), u64>,
    meta: Table<'t, &'static str, &'static str>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            ids: transaction.open_table(IDS)?,
            summaries: transaction.open_table(SUMMARIES)?,
            rows: transaction.open_table(ROWS)?,
            due: transaction.open_table(DUE)?,
            owned: transaction.open_table(OWNED)?,
            ended: transaction.open_table(ENDED)?,
            states: transaction.open_table(STATES)?,
            counts: transaction.open_table(COUNTS)?,
            meta: transaction.open_table(META)?,
        })
    }

    /// Returns the identity of the journal, which is this new one at the first call.
    pub(super) fn identity(&mut self, new: String) -> Result<String, Fault> {
        if let Some(identity) = self.meta.get("identity")? {
            return Ok(identity.value().to_owned());
        }
        self.meta.insert("identity", &*new)?;
        Ok(new)
    }

    /// Returns the instance with this id.
    pub(super) fn find(&self, id: &str) -> Result<Option<Kept>, Fault> {
        let Some(number) = self.ids.get(id)?.map(|number| number.value()) else { return Ok(None) };
        let damaged = || Fault::Damaged(id.to_owned());
        match self.at(number) {
            Ok(kept) if kept.summary.id == id => Ok(Some(kept)),
            Ok(_) | Err(Fault::Damaged(_)) => Err(damaged()),
            Err(fault) => Err(fault),
        }
    }

    /// Returns the instance with this number, which has to exist.
    pub(super) fn at(&self, number: u64) -> Result<Kept, Fault> {
        let damaged = || Fault::Damaged(format!("#{number}"));
        let sealed = self.summaries.get(number)?.ok_or_else(damaged)?;
        let value = opened((number, SUMMARY), sealed.value()).ok_or_else(damaged)?;
        let (last_row, summary) = split_number(value).ok_or_else(damaged)?;
        let summary = serde_json::from_slice(summary).map_err(|_| damaged())?;
        Ok(Kept { summary, number, last_row })
    }

    /// Adds an instance with an unused id.
    pub(super) fn create(&mut self, summary: &InstanceSummary, records: &[Vec<u8>]) -> Result<(), Fault> {
        let number = self.summaries.last()?.map_or(0, |(number, _)| number.value() + 1);
        self.ids.insert(&*summary.id, number)?;
        let last_row = self.put_row(number, NO_ROW, records)?;
        self.put_at(summary, number)?;
        self.count(summary, number)?;
        self.put_header(summary, number, last_row)
    }

    /// Replaces the summary of an instance, and appends records.
    pub(super) fn change(
        &mut self,
        before: &Kept,
        summary: &InstanceSummary,
        records: &[Vec<u8>],
    ) -> Result<(), Fault> {
        let Kept { summary: old, number, last_row } = before;
        let last_row = self.put_row(*number, *last_row, records)?;
        // Most appends leave the instance in the same index.
        if place(old) != place(summary) {
            self.take_from(old, *number)?;
            self.put_at(summary, *number)?;
        }
        if old.status != summary.status {
            self.uncount(&old.saga, old.status.as_str(), old.created, *number)?;
            self.count(summary, *number)?;
        }
        self.put_header(summary, *number, last_row)
    }

    fn put_header(&mut self, summary: &InstanceSummary, number: u64, last_row: u64) -> Result<(), Fault> {
        let text = serde_json::to_vec(summary).map_err(|error| Fault::Storage(error.into()))?;
        self.summaries.insert(number, &*sealed((number, SUMMARY), &numbered(last_row, &text)))?;
        Ok(())
    }

    /// Adds a row unless there are no records, and returns the number of the instance's last row.
    fn put_row(&mut self, number: u64, before: u64, records: &[Vec<u8>]) -> Result<u64, Fault> {
        if records.is_empty() {
            return Ok(before);
        }
        let row = self.rows.last()?.map_or(NO_ROW, |(row, _)| row.value()) + 1;
        self.rows.insert(row, &*sealed((number, row), &numbered(before, &joined(records)?)))?;
        Ok(row)
    }

    /// Returns all records of the instance. Their number has to match the summary.
    pub(super) fn records(&self, kept: &Kept) -> Result<Vec<Vec<u8>>, Fault> {
        let damaged = || Fault::Damaged(kept.summary.id.clone());
        let mut records = Vec::new();
        let mut row = kept.last_row;
        while row != NO_ROW {
            let sealed = self.rows.get(row)?.ok_or_else(damaged)?;
            let value = opened((kept.number, row), sealed.value()).ok_or_else(damaged)?;
            let (before, joined) = split_number(value).ok_or_else(damaged)?;
            // Row numbers ascend, so that a chain of rows that does not descend is damaged.
            if before >= row {
                return Err(damaged());
            }
            records.extend(split_backward(joined).ok_or_else(damaged)?);
            row = before;
        }
        records.reverse();
        if records.len() as u64 == kept.summary.head { Ok(records) } else { Err(damaged()) }
    }

    fn put_at(&mut self, summary: &InstanceSummary, number: u64) -> Result<(), Fault> {
        match place(summary) {
            Place::Due(at) => _ = self.due.insert((at, number), ())?,
            Place::Owned(owner) => _ = self.owned.insert((owner, number), ())?,
            Place::Ended(at) => _ = self.ended.insert((at, number), ())?,
            Place::Nowhere => {}
        }
        Ok(())
    }

    fn take_from(&mut self, summary: &InstanceSummary, number: u64) -> Result<(), Fault> {
        match place(summary) {
            Place::Due(at) => _ = self.due.remove((at, number))?,
            Place::Owned(owner) => _ = self.owned.remove((owner, number))?,
            Place::Ended(at) => _ = self.ended.remove((at, number))?,
            Place::Nowhere => {}
        }
        Ok(())
    }

    fn count(&mut self, summary: &InstanceSummary, number: u64) -> Result<(), Fault> {
        let (saga, status) = (&*summary.saga, summary.status.as_str());
        self.states.insert((saga, status, summary.created, number), ())?;
        let count = self.counts.get((saga, status))?.map_or(0, |count| count.value());
        self.counts.insert((saga, status), count + 1)?;
        Ok(())
    }

    fn uncount(&mut self, saga: &str, status: &str, created: u64, number: u64) -> Result<(), Fault> {
        self.states.remove((saga, status, created, number))?;
        let count = self.counts.get((saga, status))?.map_or(0, |count| count.value());
        match count.saturating_sub(1) {
            0 => _ = self.counts.remove((saga, status))?,
            count => _ = self.counts.insert((saga, status), count)?,
        }
        Ok(())
    }

    /// Returns up to `limit` selected instances that could be claimed at this time: those that are due, by due time,
    /// then those of dead workers. Returns also the numbers of unreadable instances among them.
    pub(super) fn claimable(
        &self,
        at: u64,
        limit: usize,
        lives: impl Fn(&str) -> bool,
        selects: impl Fn(&InstanceSummary) -> bool,
    ) -> Result<(Vec<Kept>, Vec<u64>), Fault> {
        let (mut claimable, mut damaged) = (Vec::new(), Vec::new());
        let mut add = |number| {
            match self.at(number) {
                Ok(kept) if selects(&kept.summary) => claimable.push(kept),
                Ok(_) => {}
                Err(Fault::Damaged(_)) => damaged.push(number),
                Err(fault) => return Err(fault),
            }
            Ok(claimable.len() == limit)
        };
        let mut full = limit == 0;
        let mut due = self.due.range(..=(at, u64::MAX))?;
        while !full && let Some(next) = due.next() {
            full = add(next?.0.value().1)?;
        }
        let mut from = (String::new(), 0);
        while !full && let Some(next) = self.owned.range((&*from.0, from.1)..)?.next() {
            let (key, _) = next?;
            let (owner, number) = key.value();
            if lives(owner) {
                // The smallest name behind this owner's.
                from = (format!("{owner}\0"), 0);
            } else {
                from = (owner.to_owned(), number + 1);
                full = add(number)?;
            }
        }
        Ok((claimable, damaged))
    }

    /// Removes the instance from the indexes of claims.
    pub(super) fn forget_waiting(&mut self, number: u64) -> Result<(), Fault> {
        self.due.retain(|(_, waiting), ()| waiting != number)?;
        self.owned.retain(|(_, owned), ()| owned != number)?;
        Ok(())
    }

    pub(super) fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, Fault> {
        if let Some(mut summaries) = self.few(query)? {
            summaries.retain(|summary| query.after.as_ref().is_none_or(|after| summary.id > *after));
            summaries.sort_by(|one, other| one.id.cmp(&other.id));
            summaries.truncate(query.limit());
            return Ok(summaries);
        }
        let after = query.after.as_ref().map_or(String::new(), |after| format!("{after}\0"));
        let mut summaries = Vec::new();
        for kept in self.ids.range(&*after..)? {
            // A damaged instance must not hide the others; loading it returns the error.
            let Ok(Kept { summary, .. }) = self.at(kept?.1.value()) else { continue };
            if query.takes(&summary) {
                summaries.push(summary);
                if summaries.len() == query.limit() {
                    break;
                }
            }
        }
        Ok(summaries)
    }

    /// Returns all instances that the query selects, unordered, or `None` if they are too many to sort in memory.
    fn few(&self, query: &Query) -> Result<Option<Vec<InstanceSummary>>, Fault> {
        let wanted: Vec<InstanceCount> = self.counts()?.into_iter().filter(|one| query.counts(one)).collect();
        let everything = query.saga.is_none() && query.status.is_none();
        if everything || wanted.iter().map(|one| one.count).sum::<u64>() > FEW {
            return Ok(None);
        }
        let mut summaries = Vec::new();
        for InstanceCount { saga, status, .. } in &wanted {
            let (saga, status) = (&**saga, status.as_str());
            for kept in self.states.range((saga, status, 0, 0)..=(saga, status, u64::MAX, u64::MAX))? {
                summaries.extend(self.at(kept?.0.value().3).map(|kept| kept.summary).ok());
            }
        }
        Ok(Some(summaries))
    }

    pub(super) fn counts(&self) -> Result<Vec<InstanceCount>, Fault> {
        let mut counts = Vec::new();
        for kept in self.counts.iter()? {
            let (key, count) = kept?;
            let (saga, name) = key.value();
            let Some(status) = Status::ALL.into_iter().find(|status| status.as_str() == name) else {
                continue;
            };
            let mut oldest = u64::MAX;
            if let Some(first) = self.states.range((saga, name, 0, 0)..)?.next() {
                oldest = first?.0.value().2;
            }
            counts.push(InstanceCount { saga: saga.to_owned(), status, count: count.value(), oldest });
        }
        Ok(counts)
    }

    pub(super) fn prune(&mut self, ended_before: u64, limit: usize) -> Result<u64, Fault> {
        let mut ended = Vec::new();
        for kept in self.ended.range(..(ended_before, 0))?.take(limit) {
            ended.push(kept?.0.value());
        }
        let mut pruned = 0;
        for (at, number) in ended {
            self.ended.remove((at, number))?;
            let kept = match self.at(number) {
                Ok(kept) => kept,
                // An unreadable instance stays in the file for analysis.
                Err(Fault::Damaged(_)) => continue,
                Err(fault) => return Err(fault),
            };
            let summary = &kept.summary;
            self.uncount(&summary.saga, summary.status.as_str(), summary.created, number)?;
            self.ids.remove(&*summary.id)?;
            self.summaries.remove(number)?;
            let mut row = kept.last_row;
            while row != NO_ROW {
                let Some(sealed) = self.rows.remove(row)? else { break };
                let before = opened((number, row), sealed.value()).and_then(split_number);
                row = before.map_or(NO_ROW, |(before, _)| before);
            }
            pruned += 1;
        }
        Ok(pruned)
    }
}
