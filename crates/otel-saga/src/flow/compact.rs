//! Compaction: the records of repeated attempts become one record, and the state stays the same.
//!
//! Follows `docs/sagas.md`, "Compaction": a compensation, the pivot and a forward step are retried without end, and
//! their journal must not grow without end.

use std::collections::HashMap;

use super::record::{Phase, Record};
use super::state::fold;

/// A shorter form of the last records of a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compaction {
    /// Position of the first record that changes, from 0.
    pub from: usize,
    /// The records that replace all records from there on. They are fewer.
    pub records: Vec<Record>,
}

/// The attempts of one step and phase among the last records.
#[derive(Default)]
struct Attempts {
    last_intent: Option<usize>,
    /// Position of the intent of the last attempt that failed. It stays, because the failure sets the next start, and
    /// because operators read the last error.
    kept: usize,
    /// First and last number of the attempts to remove.
    removed: Option<(u32, u32)>,
    failures: u32,
}

/// Removes repeated attempts from the end of these records. Of each step and phase, the first attempt and the last
/// failed one stay, and those between them become one [`Record::Compacted`]. Only attempts that follow the last record
/// of any other kind are removed. Returns `None` if there are none.
#[must_use]
pub fn compact(records: &[Record]) -> Option<Compaction> {
    let start = records.iter().rposition(|record| attempt_of(record).is_none()).map_or(0, |last| last + 1);
    let mut all: HashMap<(u16, Phase), Attempts> = HashMap::new();
    for (position, record) in records.iter().enumerate().skip(start) {
        let attempts = all.entry(attempt_of(record)?).or_default();
        match record {
            Record::Intent { .. } => attempts.last_intent = Some(position),
            Record::Failed { .. } => attempts.kept = attempts.last_intent.unwrap_or_default(),
            _ => {}
        }
    }
    let (mut from, mut short) = (None, Vec::new());
    for (position, record) in records.iter().enumerate().skip(start) {
        let attempts = all.entry(attempt_of(record)?).or_default();
        if position < attempts.kept && attempts.remove(record) {
            from.get_or_insert(position);
            continue;
        }
        if position == attempts.kept && attempts.removed.is_some() {
            short.extend(attempts.compacted(record));
        }
        if from.is_some() {
            short.push(record.clone());
        }
    }
    let from = from?;
    let (before, after) = records.split_at(from);
    let state = fold(records).ok()?;
    // Journals of earlier versions can have orders of records that cannot be shortened.
    let is_same = fold(before.iter().chain(&short)).is_ok_and(|short| short == state);
    (short.len() < after.len() && is_same).then_some(Compaction { from, records: short })
}

/// Returns the step and the phase of a record that belongs to a repeated attempt.
fn attempt_of(record: &Record) -> Option<(u16, Phase)> {
    match record {
        Record::Intent { step, phase, .. }
        | Record::Failed { step, phase, gave_up: false, .. }
        | Record::Interrupted { step, phase, .. }
        | Record::Compacted { step, phase, .. } => Some((*step, *phase)),
        _ => None,
    }
}

impl Attempts {
    /// Counts a record that is to be removed; false if it stays, because it belongs to the first attempt, or to one
    /// that began before the last records.
    fn remove(&mut self, record: &Record) -> bool {
        let (first, last) = match record {
            Record::Intent { attempt, .. } if *attempt > 1 => (*attempt, *attempt),
            Record::Compacted { first, last, failures, .. } => {
                self.failures = self.failures.saturating_add(*failures);
                (*first, *last)
            }
            Record::Failed { .. } if self.removed.is_some() => {
                self.failures = self.failures.saturating_add(1);
                return true;
            }
            Record::Interrupted { .. } => return self.removed.is_some(),
            _ => return false,
        };
        self.removed = Some((self.removed.map_or(first, |(first, _)| first), last));
        true
    }

    /// Returns the record of the removed attempts, for the step and phase of this one.
    fn compacted(&self, record: &Record) -> Option<Record> {
        let ((step, phase), (first, last)) = (attempt_of(record)?, self.removed?);
        Some(Record::Compacted { step, phase, first, last, failures: self.failures })
    }
}

#[cfg(test)]
mod tests;
