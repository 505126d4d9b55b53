//! The options of a runtime.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otel_operation::Providers;
use tokio::sync::{Notify, watch};

use super::slots::Slots;
use super::{Inner, RegisteredSaga, Runtime, StopOnDrop, recover};
use crate::definition::{Definition, Saga};
use crate::journal::{Journal, unique};
use crate::lease::Lease;
use crate::telemetry::{Telemetry, alert};

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) worker: String,
    pub(crate) concurrency: usize,
    pub(crate) lease: Duration,
    pub(crate) poll: Duration,
    pub(crate) retention: Option<Duration>,
}

/// A runtime under construction.
pub struct RuntimeBuilder<S> {
    journal: Arc<dyn Journal>,
    state: S,
    sagas: HashMap<(String, u32), Arc<Definition<S>>>,
    options: Options,
    providers: Providers,
}

impl<S: Send + Sync + 'static> RuntimeBuilder<S> {
    pub(super) fn new(journal: Arc<dyn Journal>, state: S) -> Self {
        let options = Options {
            worker: unique(),
            concurrency: 256,
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            retention: None,
        };
        Self { journal, state, sagas: HashMap::new(), options, providers: Providers::default() }
    }

    /// Registers a saga. A later saga with the same name and version replaces the earlier one.
    #[must_use]
    pub fn with_saga<I>(mut self, saga: &Saga<S, I>) -> Self {
        let definition = Arc::clone(&saga.definition);
        self.sagas.insert((definition.name.clone(), definition.version), definition);
        self
    }

    /// Sets the worker's name in the journal (default: a random name). Workers that run at the same time must have
    /// different names. A restarted worker must not keep its name either, because it would renew the lease of its
    /// former instances without resuming them.
    #[must_use]
    pub fn with_worker(mut self, name: impl Into<String>) -> Self {
        self.options.worker = name.into();
        self
    }

    /// Sets the maximum number of attempts at once of each definition that does not set its own by
    /// [`SagaBuilder::concurrency`](crate::SagaBuilder::concurrency) (default: 256, at least 1). Only a running attempt
    /// is counted: not one that waits in [`Runtime::wait`](crate::Runtime::wait) for another saga, and not an instance
    /// between two attempts. If no attempt of a definition gets a slot for a minute, an alert is raised.
    #[must_use]
    pub fn with_concurrency(mut self, attempts: usize) -> Self {
        self.options.concurrency = attempts;
        self
    }

    /// Sets the time after which the instances of a worker that does not renew its lease can be claimed
    /// (default: 30 s; a shorter one than 100 ms, 0 included, is 100 ms). The lease is renewed every third of this time,
    /// on a journal for several processes by a thread with a connection of its own.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// Sets the interval at which the worker claims instances that are due (default: 1 s).
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets the time for which ended instances are kept (default: forever). The key of a deleted instance can be used
    /// again and then starts a new saga.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.options.retention = Some(retention);
        self
    }

    otel_operation::with_providers!();

    /// Starts the runtime: it claims instances that are due, and accepts starts.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, like [`tokio::spawn`].
    #[must_use]
    pub fn start(self) -> Runtime<S> {
        let telemetry = Telemetry::new(&self.providers);
        let wake_claimer = Arc::new(Notify::new());
        let known = self.sagas.into_iter().map(|(name, definition)| {
            let prepared = Arc::new(telemetry.prepare(&definition));
            let slots = Slots::new(&definition, self.options.concurrency, &wake_claimer);
            (name, RegisteredSaga { definition, prepared, slots: Arc::new(slots) })
        });
        let Options { worker, lease, .. } = &self.options;
        let inner = Arc::new(Inner {
            lease: Lease::new(&self.journal, worker, *lease, alert),
            sagas: known.collect(),
            telemetry,
            driven: Arc::new(watch::Sender::new(0)),
            journal: self.journal,
            state: Arc::new(self.state),
            options: self.options,
            stopping: watch::Sender::new(false),
            wake_claimer,
            local: Mutex::new(HashMap::new()),
            loops: Mutex::new(Vec::new()),
            ownership_unknown: AtomicBool::new(false),
        });
        recover::spawn(&inner);
        Runtime { running: Arc::new(StopOnDrop(Arc::clone(&inner))), inner }
    }
}

impl<S> fmt::Debug for RuntimeBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("journal", &self.journal)
            .field("sagas", &self.sagas.keys())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
