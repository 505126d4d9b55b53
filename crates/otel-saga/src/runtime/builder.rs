//! What a runtime can be told.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use otel_operation::Providers;
use tokio::sync::{Notify, Semaphore, watch};

use super::{Inner, Known, Runtime, StopOnDrop, recover};
use crate::definition::{Definition, Saga};
use crate::journal::Journal;
use crate::telemetry::Telemetry;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) worker: String,
    pub(crate) concurrency: usize,
    pub(crate) lease: Duration,
    pub(crate) poll: Duration,
    pub(crate) retention: Option<Duration>,
}

/// A runtime that is being set up.
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

    /// Runs this saga. Of one name and version there is one, the last.
    #[must_use]
    pub fn with_saga<I>(mut self, saga: &Saga<S, I>) -> Self {
        let definition = Arc::clone(&saga.definition);
        self.sagas.insert((definition.name.clone(), definition.version), definition);
        self
    }

    /// The worker's name in the journal, made up if not told. No two workers that live at the same time may have one
    /// name; a worker that comes back under its old name has to wait for its own lease.
    #[must_use]
    pub fn with_worker(mut self, name: impl Into<String>) -> Self {
        self.options.worker = name.into();
        self
    }

    /// How many instances are driven at once, 256 if not told. One that waits longer than the poll interval for its
    /// next attempt is not counted: it waits in the journal.
    #[must_use]
    pub fn with_concurrency(mut self, instances: usize) -> Self {
        self.options.concurrency = instances.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        self
    }

    /// How long a worker that does not answer keeps its instances, 30 s if not told. It is renewed three times as often.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// How often the journal is asked for instances that are due, 1 s if not told.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// How long instances that have ended are kept, for ever if not told. Once one is forgotten, its key can be used
    /// again, and is then another saga.
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

    /// Begins to work: it claims what is due, and waits for starts.
    ///
    /// # Panics
    ///
    /// As [`tokio::spawn`] does, outside of a tokio runtime.
    #[must_use]
    pub fn start(self) -> Runtime<S> {
        let telemetry = Telemetry::new(&self.providers);
        let known = self.sagas.into_iter().map(|(name, definition)| {
            let prepared = Arc::new(telemetry.prepare(&definition));
            (name, Known { definition, prepared })
        });
        let inner = Arc::new(Inner {
            sagas: known.collect(),
            telemetry,
            permits: Arc::new(Semaphore::new(self.options.concurrency)),
            journal: self.journal,
            state: Arc::new(self.state),
            options: self.options,
            stopping: watch::Sender::new(false),
            poke: Notify::new(),
            here: Mutex::new(HashMap::new()),
            loops: Mutex::new(Vec::new()),
            renewed: Mutex::new(None),
            astray: AtomicBool::new(false),
        });
        recover::spawn(&inner);
        Runtime { _running: Arc::new(StopOnDrop(Arc::clone(&inner))), inner }
    }
}

/// A name that no other worker has: of this process, this start of it, this runtime.
fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
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
