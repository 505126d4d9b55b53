//! The storage of sagas: the trait [`Journal`], and the types that all journals share.
//!
//! Follows `docs/sagas.md`, "Appends": an append is a compare-and-swap with a fencing epoch.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redb")]
mod redb;
mod summary;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

pub use self::memory::MemoryJournal;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresError, PostgresJournal, PostgresOptions};
#[cfg(feature = "redb")]
pub use self::redb::{OpenError, RedbJournal};
pub use self::summary::InstanceSummary;
use crate::error::BoxError;
use crate::flow::SagaOutcome;
use crate::two_phase::is_transaction;

/// A position in an instance's journal: the number of records, and the epoch of the writer. An append at another
/// position than the current one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Cursor {
    /// The number of records.
    pub head: u64,
    /// The number of claims of the instance and of replacements of its records. A writer with an older epoch is fenced.
    pub epoch: u64,
}

impl Cursor {
    /// Creates the position after `head` records, in this epoch.
    #[must_use]
    pub fn new(head: u64, epoch: u64) -> Self {
        Self { head, epoch }
    }
}

/// The ownership of an instance after an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AfterAppend {
    /// The instance stays with its worker. If it has none, it can be claimed at once.
    Continue,
    /// The worker releases the instance. It can be claimed from this time on.
    Runnable {
        /// Milliseconds since the Unix epoch.
        at: u64,
    },
    /// The worker releases the instance, and it cannot be claimed.
    Parked,
    /// The instance has ended.
    Finished(SagaOutcome),
}

/// The status of an instance, available without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// A worker owns the instance, or it waits to be claimed.
    Running,
    /// The instance is parked until it is unparked.
    Parked,
    /// The instance has ended: every step was done.
    Completed,
    /// The instance has ended: every step that was done, or may have been, was undone.
    Compensated,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 4] = [Self::Running, Self::Parked, Self::Completed, Self::Compensated];

    /// Returns true if the instance has ended.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }

    /// The status as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
        }
    }

    /// The status as one word that fits [`InstanceSummary::saga`]: a two-phase commit that has ended is `committed` or
    /// `aborted`.
    #[must_use]
    pub fn label_for(self, saga: &str) -> &'static str {
        match self {
            Self::Completed if is_transaction(saga) => "committed",
            Self::Compensated if is_transaction(saga) => "aborted",
            status => status.as_str(),
        }
    }
}

/// An instance to create.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewInstance {
    /// The instance's id.
    pub id: String,
    /// The definition's name.
    pub saga: String,
    /// The definition's version.
    pub version: u32,
    /// The worker that owns it; `None` if it is to be claimed.
    pub worker: Option<String>,
    /// The first records.
    pub records: Vec<Vec<u8>>,
}

impl NewInstance {
    /// Creates a description of an instance that is to be claimed.
    #[must_use]
    pub fn new(id: impl Into<String>, saga: impl Into<String>, version: u32, records: Vec<Vec<u8>>) -> Self {
        Self { id: id.into(), saga: saga.into(), version, worker: None, records }
    }

    /// Sets the worker that owns the instance from the start.
    #[must_use]
    pub fn with_worker(mut self, worker: impl Into<String>) -> Self {
        self.worker = Some(worker.into());
        self
    }
}

/// The name and the version of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct DefinitionKey {
    /// The definition's name.
    pub saga: String,
    /// The definition's version.
    pub version: u32,
}

impl DefinitionKey {
    /// Creates the key of a definition.
    #[must_use]
    pub fn new(saga: impl Into<String>, version: u32) -> Self {
        Self { saga: saga.into(), version }
    }

    /// Returns true if the instance is of one of these definitions, or if there is no selection.
    pub(crate) fn selects(definitions: Option<&[Self]>, summary: &InstanceSummary) -> bool {
        definitions.is_none_or(|definitions| {
            definitions.iter().any(|one| one.version == summary.version && one.saga == summary.saga)
        })
    }
}

/// The result of creating an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateOutcome {
    /// The instance was created, and its journal ends at this position.
    New(Cursor),
    /// An instance with this id already exists.
    Exists,
}

/// An instance and its records, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredInstance {
    /// The summary, available without the records.
    pub summary: InstanceSummary,
    /// All records.
    pub records: Vec<Vec<u8>>,
}

/// A selection of instances to list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Query {
    /// Only instances of this saga; default: all.
    pub saga: Option<String>,
    /// Only instances in this status; default: any.
    pub status: Option<Status>,
    /// Only instances whose id sorts after this one.
    pub after: Option<String>,
    /// Maximum number of instances; 0 means 100.
    pub limit: usize,
}

impl Query {
    pub(crate) fn takes(&self, summary: &InstanceSummary) -> bool {
        self.saga.as_ref().is_none_or(|saga| *saga == summary.saga)
            && self.status.is_none_or(|status| status == summary.status)
    }

    /// Returns true if the query selects instances that this count includes.
    #[cfg(feature = "redb")]
    pub(crate) fn counts(&self, count: &InstanceCount) -> bool {
        self.saga.as_ref().is_none_or(|saga| *saga == count.saga)
            && self.status.is_none_or(|status| status == count.status)
    }

    pub(crate) fn limit(&self) -> usize {
        if self.limit == 0 { 100 } else { self.limit }
    }
}

/// The number of instances of a saga that have a status.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceCount {
    /// The definition's name.
    pub saga: String,
    /// The status.
    pub status: Status,
    /// The number of instances.
    pub count: u64,
    /// The creation time of the oldest of them, in milliseconds since the Unix epoch.
    pub oldest: u64,
}

/// The error of a journal request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The reply was lost: the request may have been carried out.
    #[error("whether the journal did it is unknown")]
    Unknown(#[source] BoxError),
    /// The request was not carried out.
    #[error("the journal failed")]
    Failed(#[source] BoxError),
    /// The data that was read is not the data that was written.
    #[error("the journal is damaged at `{at}`")]
    Damaged {
        /// The instance, or the part of the journal.
        at: String,
    },
}

/// The reason for which records were not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The instance has moved past this cursor: another writer has appended to it or claimed it.
    #[error("the instance is not at this cursor any more")]
    Fenced,
    /// The request failed, or its outcome is unknown.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The storage of sagas. Records are opaque to it. A change has to be durable before the call returns.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug + 'static {
    /// Creates an instance, unless one with its id exists.
    async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError>;

    /// Appends records and sets the ownership of the instance, if it is still at this cursor. Without records only
    /// the ownership changes.
    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
    ) -> Result<Cursor, AppendError>;

    /// Replaces all records from position `from` on, if the instance is still at this cursor; the number of records must
    /// not rise. The ownership stays. The epoch rises, so that no cursor stands for two different journals. The default
    /// keeps all records and returns the cursor `at`: the journal of a step that is retried without end then grows.
    ///
    /// # Errors
    ///
    /// Returns [`AppendError::Fenced`] also if the number of records would rise.
    async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<Cursor, AppendError> {
        let _ = (id, from, records);
        Ok(at)
    }

    /// Returns the instance with all of its records.
    async fn load(&self, id: &str) -> Result<Option<StoredInstance>, JournalError>;

    /// Returns the instance without its records.
    async fn summary(&self, id: &str) -> Result<Option<InstanceSummary>, JournalError>;

    /// Claims up to `limit` instances for the worker: those that are due, and those whose worker's lease has expired.
    /// Each gets a new epoch. Instances that have waited longest come first.
    ///
    /// Only instances of `definitions` are claimed, so that the others are left to workers that have registered their
    /// definitions; `None` claims all.
    async fn claim(
        &self,
        worker: &str,
        definitions: Option<&[DefinitionKey]>,
        limit: usize,
    ) -> Result<Vec<InstanceSummary>, JournalError>;

    /// Returns up to `limit` running instances that any worker could have claimed since this time, in milliseconds
    /// since the Unix epoch: no record was appended since then, and the instance was due, or the lease of its worker
    /// had expired.
    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<InstanceSummary>, JournalError>;

    /// Returns a way to renew leases that does not need the runtime of the caller, nor the connections of its other
    /// requests. The worker then renews its lease on a thread of its own. `None`, the default, suits a journal whose
    /// workers are all in one process.
    fn lease_renewal(&self) -> Option<Box<dyn LeaseRenewal>> {
        None
    }

    /// Returns true if the worker is the first by name of those with a valid lease. Only the first one records the gauges
    /// of the journal. Default: true.
    async fn is_first(&self, worker: &str) -> Result<bool, JournalError> {
        let _ = worker;
        Ok(true)
    }

    /// Returns the journal's identity: a random text that it keeps as long as its data. Participants of two-phase commits
    /// remember it, so that a coordinator with another journal is recognized. `None`, the default: it has none.
    async fn identity(&self) -> Result<Option<String>, JournalError> {
        Ok(None)
    }

    /// Extends the worker's lease, one for everything that it owns, to this length from now.
    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError>;

    /// Returns instances in the order of their ids, a page at a time.
    async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, JournalError>;

    /// Returns the numbers of instances, by saga and status.
    async fn counts(&self) -> Result<Vec<InstanceCount>, JournalError>;

    /// Deletes up to `limit` instances that ended before this time, in milliseconds since the Unix epoch, and returns
    /// their number.
    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError>;
}

/// Renews leases on a thread of its own: see [`Journal::lease_renewal`].
#[async_trait]
pub trait LeaseRenewal: Send + Sync + fmt::Debug + 'static {
    /// Extends the worker's lease, as [`Journal::renew`] does. It is called in another tokio runtime than the journal's
    /// other methods.
    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError>;
}

/// Returns a random text of 32 hexadecimal digits.
pub(crate) fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

/// Returns the time in milliseconds since the Unix epoch, to which all due times refer. It follows tokio's clock if
/// that is paused, and the system clock otherwise.
#[must_use]
pub fn now() -> u64 {
    let virtual_now = tokio::time::Instant::now().into_std();
    let real_now = std::time::Instant::now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The two clocks differ only if a test has paused tokio's.
    let ahead = virtual_now.saturating_duration_since(real_now);
    let behind = real_now.saturating_duration_since(virtual_now);
    millis((since + ahead).saturating_sub(behind))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
