//! The summary of an instance: its owner, its due time, the end of its journal. Holds the rules of append and claim
//! that the journals of this process share.
//!
//! Follows `docs/sagas.md`, "Appends": an append at another cursor changes nothing, and each claim raises the epoch.

use serde::{Deserialize, Serialize};

use super::{AfterAppend, Cursor, NewInstance, Status};
use crate::flow::SagaOutcome;

/// The data of an instance that a journal has without reading the records. Times are milliseconds since the Unix
/// epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceSummary {
    /// The instance's id.
    pub id: String,
    /// The definition's name.
    pub saga: String,
    /// The definition's version.
    pub version: u32,
    /// The status.
    pub status: Status,
    /// The time of creation.
    pub created: u64,
    /// The time of the last append.
    pub changed: u64,
    /// The due time, if the instance is running and unowned.
    pub due: u64,
    /// The worker that owns the instance, or owned it until its lease expired.
    pub owner: Option<String>,
    /// The number of records.
    pub head: u64,
    /// The epoch: 1 at creation, one higher with each claim and each replacement of records.
    pub epoch: u64,
}

impl InstanceSummary {
    /// Creates the summary of a new instance.
    #[must_use]
    pub fn new(instance: &NewInstance, now: u64) -> Self {
        Self {
            id: instance.id.clone(),
            saga: instance.saga.clone(),
            version: instance.version,
            status: Status::Running,
            created: now,
            changed: now,
            due: now,
            owner: instance.worker.clone(),
            head: instance.records.len() as u64,
            epoch: 1,
        }
    }

    /// Returns the end of the journal, and the epoch.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.head, self.epoch)
    }

    /// Advances by `records` and sets the ownership. Returns false, and changes nothing, if the summary is not at this
    /// cursor.
    #[must_use]
    pub fn advance(&mut self, at: Cursor, records: usize, after_append: AfterAppend, now: u64) -> bool {
        if self.cursor() != at {
            return false;
        }
        self.head += records as u64;
        self.changed = now;
        self.status = match after_append {
            AfterAppend::Continue | AfterAppend::Runnable { .. } => Status::Running,
            AfterAppend::Parked => Status::Parked,
            AfterAppend::Finished(SagaOutcome::Completed) => Status::Completed,
            AfterAppend::Finished(SagaOutcome::Compensated) => Status::Compensated,
        };
        match after_append {
            AfterAppend::Continue => self.due = now,
            AfterAppend::Runnable { at } => self.due = at,
            AfterAppend::Parked | AfterAppend::Finished(_) => {}
        }
        if after_append != AfterAppend::Continue {
            self.owner = None;
        }
        true
    }

    /// Sets the number of records after all from position `from` on were replaced by `records`, in a new epoch. Returns
    /// false, and changes nothing, if the summary is not at this cursor, or if the number would rise.
    #[must_use]
    pub fn replace(&mut self, at: Cursor, from: u64, records: usize, now: u64) -> bool {
        let head = from.saturating_add(records as u64);
        if self.cursor() != at || head > self.head {
            return false;
        }
        (self.head, self.changed) = (head, now);
        self.epoch += 1;
        true
    }

    /// Assigns the instance to this worker in a new epoch.
    pub fn give_to(&mut self, worker: &str) {
        self.owner = Some(worker.to_owned());
        self.epoch += 1;
    }
}
