//! The options of a coordinator.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otel_operation::Providers;
use tokio::sync::{Notify, Semaphore, watch};

use super::{Coordinator, Inner, StopOnDrop, recover, wrong_name};
use crate::journal::{Journal, JournalError, unique};
use crate::lease::Lease;
use crate::retry::RetryPolicy;
use crate::two_phase::is_transaction;
use crate::two_phase::participant::Participant;
use crate::two_phase::telemetry::{Telemetry, alert};

/// Maximum number of claimed transactions that are driven at once.
const CLAIMED: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) worker: String,
    pub(super) lease: Duration,
    pub(super) poll: Duration,
    pub(super) timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) retention: Option<Duration>,
    pub(super) new_journal: bool,
}

/// The reason for which a coordinator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// A name is empty, longer than 40 bytes, or contains a slash or a control character.
    #[error("`{name}` cannot be a name: 1 to 40 printable bytes, and no slash")]
    Name {
        /// Name of the coordinator or of a participant.
        name: String,
    },
    /// Two participants have the same name.
    #[error("there are two participants of the name `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// The journal holds instances that are not transactions. A coordinator needs its own journal.
    #[error(
        "the journal holds `{what}`, which is no two-phase commit: a coordinator needs a journal of its own"
    )]
    OtherJournal {
        /// Name of the saga in the journal.
        what: String,
    },
    /// The journal request failed, or its outcome is unknown.
    #[error("the journal did not answer")]
    Journal(#[from] JournalError),
}

/// A coordinator under construction.
#[derive(Debug)]
pub struct CoordinatorBuilder {
    journal: Arc<dyn Journal>,
    name: String,
    participants: Vec<Arc<dyn Participant>>,
    options: Options,
    providers: Providers,
}

impl CoordinatorBuilder {
    pub(super) fn new(journal: Arc<dyn Journal>, name: String) -> Self {
        let options = Options {
            worker: unique(),
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            retention: None,
            new_journal: false,
        };
        Self { journal, name, participants: Vec::new(), options, providers: Providers::default() }
    }

    /// Adds a participant. Its name is part of the identifier of each branch, and has to stay the same.
    #[must_use]
    pub fn with_participant(mut self, participant: impl Participant) -> Self {
        self.participants.push(Arc::new(participant));
        self
    }

    /// Sets the worker's name in the journal (default: a random name). Coordinators that run at the same time must
    /// have different names. A restarted coordinator must not keep its name either, because it would renew the lease
    /// of its former transactions without resuming them.
    #[must_use]
    pub fn with_worker(mut self, name: impl Into<String>) -> Self {
        self.options.worker = name.into();
        self
    }

    /// Sets the time after which the transactions of a coordinator that does not renew its lease can be claimed
    /// (default: 30 s; a shorter one than 100 ms, 0 included, is 100 ms). The lease is renewed every third of this time,
    /// on a journal for several processes by a thread with a connection of its own.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// Sets the interval at which the coordinator claims transactions that are due (default: 1 s).
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets the time limit of a participant's call (default: 10 s). A prepare that exceeds it aborts the transaction;
    /// a commit or a rollback is repeated.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets the back-off between commits and rollbacks that are not acknowledged (default: 100 ms to 30 s). They are
    /// repeated without end; after the policy's number of attempts (default: 5) each failure raises an alert.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.options.retry = retry;
        self
    }

    /// Sets the time for which ended transactions are kept, by the journal and by participants (default: forever). No
    /// request may arrive later than that, because the key of a deleted transaction is a new one.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.options.retention = Some(retention);
        self
    }

    /// Makes the participants remember this journal in place of the one that they know (default: they keep the first).
    ///
    /// A coordinator whose journal is another one than the participants remember, because it was lost or swapped, raises
    /// an alert and leaves branches prepared that the journal does not know. Set this for one start, after these were
    /// ended by hand: from then on such branches are rolled back again.
    #[must_use]
    pub fn with_new_journal(mut self) -> Self {
        self.options.new_journal = true;
        self
    }

    otel_operation::with_providers!();

    /// Checks the journal, takes a lease, and starts to work: transactions in doubt are claimed at once.
    ///
    /// # Errors
    ///
    /// See [`CoordinatorError`].
    pub async fn start(self) -> Result<Coordinator, CoordinatorError> {
        let mut participants = BTreeMap::new();
        if wrong_name(&self.name) {
            return Err(CoordinatorError::Name { name: self.name });
        }
        for participant in self.participants {
            let name = participant.name().to_owned();
            if wrong_name(&name) {
                return Err(CoordinatorError::Name { name });
            }
            if participants.insert(name.clone(), participant).is_some() {
                return Err(CoordinatorError::Twice { name });
            }
        }
        let held = self.journal.counts().await?;
        if let Some(other) = held.into_iter().find(|count| !is_transaction(&count.saga)) {
            return Err(CoordinatorError::OtherJournal { what: other.saga });
        }
        let lease = Lease::new(&self.journal, &self.options.worker, self.options.lease, alert);
        let inner = Arc::new(Inner {
            lease,
            name: self.name,
            journal: self.journal,
            participants,
            options: self.options,
            telemetry: Telemetry::new(&self.providers),
            permits: Arc::new(Semaphore::new(CLAIMED)),
            stopping: watch::Sender::new(false),
            driven: watch::Sender::new(0),
            progress: Notify::new(),
            wake_claimer: Notify::new(),
            local: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
            loops: Mutex::new(Vec::new()),
            is_same_journal: AtomicBool::new(false),
            reported: Mutex::default(),
            ownership_unknown: AtomicBool::new(false),
        });
        // Without a lease, other coordinators would immediately claim the transactions that this one begins.
        inner.lease.renew().await?;
        recover::spawn(&inner);
        Ok(Coordinator { running: Arc::new(StopOnDrop(Arc::clone(&inner))), inner })
    }
}
