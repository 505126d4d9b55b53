//! Where sagas are kept: one small trait, and what all journals share.
//!
//! Follows `docs/sagas.md`, "Appends": an append is a compare-and-swap with a fencing epoch.

mod header;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redb")]
mod redb;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

pub use self::header::Header;
pub use self::memory::MemoryJournal;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresError, PostgresJournal, PostgresOptions};
#[cfg(feature = "redb")]
pub use self::redb::{OpenError, RedbJournal};
use crate::error::BoxError;
use crate::flow::End;
use crate::two_phase::is_transaction;

/// A place in an instance's journal: where the next record goes, and who may put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Cursor {
    /// How many records there are.
    pub head: u64,
    /// How often the instance was claimed: whoever has an older number is fenced.
    pub epoch: u64,
}

impl Cursor {
    /// The place behind `head` records, in this epoch.
    #[must_use]
    pub fn new(head: u64, epoch: u64) -> Self {
        Self { head, epoch }
    }
}

/// What becomes of an instance with an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// It stays with the worker that has it. If none has it, it can be claimed at once.
    Continue,
    /// No worker has it any more. It can be claimed from this time on, in milliseconds since 1970.
    Runnable {
        /// Milliseconds since 1970.
        at: u64,
    },
    /// No worker has it, and none can claim it.
    Parked,
    /// It has ended.
    Finished(End),
}

/// What a journal knows of an instance without reading its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Somebody is at work on it, or will be.
    Running,
    /// It stands still until somebody looks at it.
    Parked,
    /// It has ended: every step was done.
    Completed,
    /// It has ended: what was done was undone.
    Compensated,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Parked, Self::Completed, Self::Compensated];

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }

    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
        }
    }

    /// In the word that fits what the journal calls an instance, [`Header::saga`]: a two-phase commit that has ended is
    /// `committed` or `aborted`.
    #[must_use]
    pub fn word_for(self, saga: &str) -> &'static str {
        match self {
            Self::Completed if is_transaction(saga) => "committed",
            Self::Compensated if is_transaction(saga) => "aborted",
            status => status.as_str(),
        }
    }
}

/// An instance that is to be created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewInstance {
    /// The instance's id.
    pub id: String,
    /// The definition's name.
    pub saga: String,
    /// The definition's version.
    pub version: u32,
    /// The worker that has it; none if it is to be claimed.
    pub worker: Option<String>,
    /// Its first records.
    pub records: Vec<Vec<u8>>,
}

impl NewInstance {
    /// An instance that is to be claimed.
    #[must_use]
    pub fn new(id: impl Into<String>, saga: impl Into<String>, version: u32, records: Vec<Vec<u8>>) -> Self {
        Self { id: id.into(), saga: saga.into(), version, worker: None, records }
    }

    /// An instance that this worker has from the start.
    #[must_use]
    pub fn with_worker(mut self, worker: impl Into<String>) -> Self {
        self.worker = Some(worker.into());
        self
    }
}

/// What came of creating an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Created {
    /// It is there, with these records.
    New(Cursor),
    /// There was one of this id already.
    Exists,
}

/// An instance and its records, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// What is known without the records.
    pub header: Header,
    /// All of them.
    pub records: Vec<Vec<u8>>,
}

/// Which instances to list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Query {
    /// Of this saga; of all if not told.
    pub saga: Option<String>,
    /// In this status; in any if not told.
    pub status: Option<Status>,
    /// Those that come after this id.
    pub after: Option<String>,
    /// At most so many; 100 if it is 0.
    pub limit: usize,
}

impl Query {
    pub(crate) fn takes(&self, header: &Header) -> bool {
        self.saga.as_ref().is_none_or(|saga| *saga == header.saga)
            && self.status.is_none_or(|status| status == header.status)
    }

    /// Whether instances of this count may be taken.
    #[cfg(feature = "redb")]
    pub(crate) fn counts(&self, count: &Count) -> bool {
        self.saga.as_ref().is_none_or(|saga| *saga == count.saga)
            && self.status.is_none_or(|status| status == count.status)
    }

    pub(crate) fn limit(&self) -> usize {
        if self.limit == 0 { 100 } else { self.limit }
    }
}

/// How many instances of a saga are in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// The definition's name.
    pub saga: String,
    /// In this status.
    pub status: Status,
    /// So many.
    pub count: u64,
    /// When the oldest of them was created, in milliseconds since 1970.
    pub oldest: u64,
}

/// Why a journal did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The answer was lost: it was done, or it was not.
    #[error("whether the journal did it is unknown")]
    Unknown(#[source] BoxError),
    /// It was not done.
    #[error("the journal failed")]
    Failed(#[source] BoxError),
    /// What was written is not what is read.
    #[error("the journal is damaged at `{at}`")]
    Damaged {
        /// The instance, or the part of the journal.
        at: String,
    },
}

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The instance is not at this cursor any more: somebody else has appended, or has claimed it.
    #[error("the instance is not at this cursor any more")]
    Fenced,
    /// The journal did not do it, or nobody knows.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Where sagas are kept. Records are opaque to it; what it answers has to be durable before it answers.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug + 'static {
    /// Creates an instance, unless there is one of its id.
    async fn create(&self, instance: NewInstance) -> Result<Created, JournalError>;

    /// Appends records, and changes what becomes of the instance, if it is still at this cursor. Without records it
    /// only does the latter.
    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        then: Then,
    ) -> Result<Cursor, AppendError>;

    /// The instance and all of its records.
    async fn load(&self, id: &str) -> Result<Option<Loaded>, JournalError>;

    /// Gives the worker up to `limit` instances that are runnable now, and that no worker has whose lease lives. Each
    /// gets a new epoch. Those that have waited longest come first.
    async fn claim(&self, worker: &str, limit: usize) -> Result<Vec<Header>, JournalError>;

    /// Makes the worker's lease live for so long from now: one lease for all that it has.
    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError>;

    /// Instances in the order of their ids, a page at a time.
    async fn list(&self, query: &Query) -> Result<Vec<Header>, JournalError>;

    /// How many there are, by saga and status.
    async fn counts(&self) -> Result<Vec<Count>, JournalError>;

    /// Forgets up to `limit` instances that ended before this time (milliseconds since 1970), and says how many.
    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError>;
}

/// The time in milliseconds since 1970, by which everything here is due. Under tokio's paused clock it stands still
/// and moves with that clock; elsewhere it is the system's.
#[must_use]
pub fn now() -> u64 {
    let virtual_now = tokio::time::Instant::now().into_std();
    let real_now = std::time::Instant::now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The two clocks are one and the same, unless a test has paused tokio's.
    let ahead = virtual_now.saturating_duration_since(real_now);
    let behind = real_now.saturating_duration_since(virtual_now);
    millis((since + ahead).saturating_sub(behind))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
