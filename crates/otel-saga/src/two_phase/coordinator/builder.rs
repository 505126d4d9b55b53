//! What a coordinator can be told.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use otel_operation::Providers;
use tokio::sync::{Notify, Semaphore, watch};

use super::{Coordinator, Inner, StopOnDrop, recover, wrong_name};
use crate::journal::{Journal, JournalError};
use crate::retry::RetryPolicy;
use crate::two_phase::is_transaction;
use crate::two_phase::participant::Participant;
use crate::two_phase::telemetry::Telemetry;

/// How many transactions that were claimed are driven at once.
const CLAIMED: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) worker: String,
    pub(super) lease: Duration,
    pub(super) poll: Duration,
    pub(super) timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) retention: Option<Duration>,
}

/// Why a coordinator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// A name is empty, longer than 40 bytes, or has a slash or what cannot be printed.
    #[error("`{name}` cannot be a name: 1 to 40 printable bytes, and no slash")]
    Name {
        /// The coordinator's name, or a participant's.
        name: String,
    },
    /// There are two participants of one name.
    #[error("there are two participants of the name `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// The journal holds something else than transactions. A coordinator needs one of its own.
    #[error(
        "the journal holds `{what}`, which is no two-phase commit: a coordinator needs a journal of its own"
    )]
    OtherJournal {
        /// What it holds.
        what: String,
    },
    /// The journal did not answer.
    #[error("the journal did not answer")]
    Journal(#[from] JournalError),
}

/// A coordinator that is being set up.
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
        };
        Self { journal, name, participants: Vec::new(), options, providers: Providers::default() }
    }

    /// Commits and rolls back here what was prepared under this participant's name.
    #[must_use]
    pub fn with_participant(mut self, participant: impl Participant) -> Self {
        self.participants.push(Arc::new(participant));
        self
    }

    /// The worker's name in the journal, made up if not told. No two coordinators that live at the same time may have one
    /// name; one that comes back under its old name has to wait for its own lease.
    #[must_use]
    pub fn with_worker(mut self, name: impl Into<String>) -> Self {
        self.options.worker = name.into();
        self
    }

    /// How long a coordinator that does not answer keeps its transactions, 30 s if not told. It is renewed three times as
    /// often.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// How often the journal is asked for transactions that are due, 1 s if not told.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// How long a participant has to answer, 10 s if not told. A prepare that takes longer aborts the transaction; a commit
    /// or a rollback is asked again.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// When commits and rollbacks that were not acknowledged are asked again: for ever. The policy's attempts are those
    /// after which there is an alert. 100 ms to 30 s apart and 5 if not told.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.options.retry = retry;
        self
    }

    /// How long transactions that have ended are remembered, by the journal and by participants; for ever if not told. No
    /// request, however late, may come after that: a key that was forgotten is a new one.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.options.retention = Some(retention);
        self
    }

    /// Records spans here, and not with the global provider.
    #[must_use]
    pub fn with_tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        self.providers.set_tracer_provider(provider);
        self
    }

    /// Records metrics here, and not with the global provider.
    #[must_use]
    pub fn with_meter_provider<P>(mut self, provider: &P) -> Self
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.providers.set_meter_provider(provider);
        self
    }

    /// Looks into the journal, takes a lease, and begins to work: what is in doubt is claimed at once.
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
        let inner = Arc::new(Inner {
            name: self.name,
            journal: self.journal,
            participants,
            options: self.options,
            telemetry: Telemetry::new(&self.providers),
            permits: Arc::new(Semaphore::new(CLAIMED)),
            stopping: watch::Sender::new(false),
            driven: watch::Sender::new(0),
            moved: Notify::new(),
            poke: Notify::new(),
            here: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
            loops: Mutex::new(Vec::new()),
            renewed: Mutex::new(None),
            astray: AtomicBool::new(false),
        });
        // Without a lease, others would claim at once what is begun here.
        inner.renew().await?;
        recover::spawn(&inner);
        Ok(Coordinator { _running: Arc::new(StopOnDrop(Arc::clone(&inner))), inner })
    }
}

/// A name that no other worker has: of this process, this start of it, this coordinator.
fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}
