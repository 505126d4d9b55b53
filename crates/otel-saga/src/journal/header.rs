//! An instance without its records: who has it, when it is due, where its journal ends. The rules of append and claim
//! that journals in this process share.
//!
//! Follows `docs/sagas.md`, "Appends": an append at another cursor changes nothing, and each claim raises the epoch.

use serde::{Deserialize, Serialize};

use super::{Cursor, NewInstance, Status, Then};
use crate::flow::End;

/// What a journal knows of an instance without reading its records. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The instance's id.
    pub id: String,
    /// The definition's name.
    pub saga: String,
    /// The definition's version.
    pub version: u32,
    /// What is known of it.
    pub status: Status,
    /// When it was created.
    pub created: u64,
    /// When its journal was last appended to.
    pub changed: u64,
    /// When it is due, if it is running and no worker has it.
    pub due: u64,
    /// The worker that has it, or had it when that died.
    pub owner: Option<String>,
    /// How many records there are.
    pub head: u64,
    /// How often it was claimed.
    pub epoch: u64,
}

impl Header {
    /// The header of a new instance.
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

    /// Where its journal ends.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.head, self.epoch)
    }

    /// Moves on by so many records; false, and nothing has changed, if it is not at this cursor.
    #[must_use]
    pub fn advance(&mut self, at: Cursor, records: usize, then: Then, now: u64) -> bool {
        if self.cursor() != at {
            return false;
        }
        self.head += records as u64;
        self.changed = now;
        self.status = match then {
            Then::Continue | Then::Runnable { .. } => Status::Running,
            Then::Parked => Status::Parked,
            Then::Finished(End::Completed) => Status::Completed,
            Then::Finished(End::Compensated) => Status::Compensated,
        };
        match then {
            Then::Continue => self.due = now,
            Then::Runnable { at } => self.due = at,
            Then::Parked | Then::Finished(_) => {}
        }
        if then != Then::Continue {
            self.owner = None;
        }
        true
    }

    /// Gives it to this worker.
    pub fn give_to(&mut self, worker: &str) {
        self.owner = Some(worker.to_owned());
        self.epoch += 1;
    }
}
