//! The last known endpoints of a service, which a task keeps up to date.
//!
//! Follows `docs/conventions.md` for what is recorded. A registry that fails leaves the endpoints as they are.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use opentelemetry::KeyValue;
use otel_operation::ERROR_TYPE;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::attributes::{REGISTRY, SERVICE};
use crate::endpoint::Endpoint;
use crate::endpoint_set::EndpointSet;
use crate::error::PANIC;
use crate::instrumentation::DiscoveryInstrumentation;
use crate::metrics::Observed;
use crate::registry::Registry;
use crate::watcher::Watcher;

/// The options of [`Endpoints`].
#[derive(Clone, Debug)]
pub struct WatchOptions {
    pub(crate) empty_means_gone: bool,
    pub(crate) min_delay: Duration,
    pub(crate) max_delay: Duration,
    instrumentation: DiscoveryInstrumentation,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            empty_means_gone: false,
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(10),
            instrumentation: DiscoveryInstrumentation::global().clone(),
        }
    }
}

impl WatchOptions {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the meaning of an empty answer: true removes all endpoints. Default: false, the last known endpoints stay and
    /// are stale.
    #[must_use]
    pub fn with_empty_as_gone(mut self, empty_means_gone: bool) -> Self {
        self.empty_means_gone = empty_means_gone;
        self
    }

    /// Sets the delays before a watch that failed begins again: they double from the first to the second, less a random part
    /// of up to a half. Default: 100 ms, 10 s.
    #[must_use]
    pub fn with_delays(mut self, min: Duration, max: Duration) -> Self {
        (self.min_delay, self.max_delay) = (min, max.max(min));
        self
    }

    /// Uses this instrumentation instead of the global one, also for services that are made with the endpoints.
    #[must_use]
    pub fn with_instrumentation(mut self, instrumentation: &DiscoveryInstrumentation) -> Self {
        self.instrumentation = instrumentation.clone();
        self
    }
}

/// The endpoints of a service: the last known ones, kept up to date by a task that ends with the last clone.
#[derive(Clone)]
pub struct Endpoints {
    shared: Arc<Shared>,
    task: Arc<AbortOnDrop>,
}

/// The state of a watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchState {
    pub(crate) endpoints: EndpointSet,
    /// The last good answer; `None` before the first one.
    pub(crate) answered: Option<Instant>,
    /// The reason if the registry fails, or gave an empty answer that is not taken for an end of all.
    pub(crate) failure: Option<Arc<str>>,
}

impl WatchState {
    /// Returns the time since the last good answer, if the registry fails.
    pub(crate) fn stale_time(&self) -> Option<Duration> {
        self.failure.as_ref().and(self.answered).map(|answered| answered.elapsed())
    }
}

pub(crate) struct Shared {
    pub(crate) state: watch::Sender<WatchState>,
    pub(crate) service: Arc<str>,
    pub(crate) registry: &'static str,
    pub(crate) instrumentation: DiscoveryInstrumentation,
    pub(crate) attributes: Vec<KeyValue>,
    is_observed: AtomicBool,
}

impl Endpoints {
    /// Starts to watch a service. The name of the service comes from the program, because it is an attribute of metrics.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[must_use]
    pub fn watch(registry: impl Registry, service: impl Into<Arc<str>>, options: WatchOptions) -> Self {
        let (service, name) = (service.into(), registry.name());
        let shared = Arc::new(Shared {
            state: watch::Sender::default(),
            attributes: vec![KeyValue::new(SERVICE, Arc::clone(&service)), KeyValue::new(REGISTRY, name)],
            service,
            registry: name,
            instrumentation: options.instrumentation.clone(),
            is_observed: AtomicBool::new(false),
        });
        let watcher = Watcher::new(Arc::clone(&shared), Box::new(registry), options);
        let task = Arc::new(AbortOnDrop(tokio::spawn(watcher.run()).abort_handle()));
        Self { shared, task }
    }

    /// Waits until the registry has answered once, or failed. Returns false if it failed.
    pub async fn ready(&self) -> bool {
        let mut state = self.shared.state.subscribe();
        // The sender is in `self`.
        let state = state.wait_for(|state| state.answered.is_some() || state.failure.is_some()).await;
        state.is_ok_and(|state| state.answered.is_some())
    }

    /// Returns the endpoints, ordered by their ids.
    #[must_use]
    pub fn current(&self) -> Vec<Arc<Endpoint>> {
        self.shared.state.borrow().endpoints.iter().cloned().collect()
    }

    /// Returns the time since the last good answer of a registry that fails, or `None` if it does not fail or has never answered.
    #[must_use]
    pub fn stale_time(&self) -> Option<Duration> {
        self.shared.state.borrow().stale_time()
    }

    /// Returns the name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.shared.service
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the guard of the task, for users that do without the rest.
    pub(crate) fn task(&self) -> &Arc<AbortOnDrop> {
        &self.task
    }
}

impl Shared {
    /// Adds the gauge of the staleness, once there is a meter provider.
    pub(crate) fn observe(self: &Arc<Self>) {
        self.instrumentation.observe_once(&self.is_observed, self);
    }

    /// Counts a watch that failed or ended.
    pub(crate) fn count_restart(&self, error_type: &'static str) {
        if let Some(instruments) = self.instrumentation.instruments() {
            let mut attributes = self.attributes.clone();
            attributes.push(KeyValue::new(ERROR_TYPE, error_type));
            instruments.watch_restarts.add(1, &attributes);
        }
    }

    /// Counts registrations that are no endpoint.
    pub(crate) fn count_rejected(&self, count: u64) {
        if count > 0
            && let Some(instruments) = self.instrumentation.instruments()
        {
            instruments.rejected_endpoints.add(count, &self.attributes);
        }
    }

    /// Counts endpoints for which the program made no service.
    pub(crate) fn count_panics(&self, count: u64) {
        if count > 0
            && let Some(instruments) = self.instrumentation.instruments()
        {
            let mut attributes = self.attributes.clone();
            attributes.push(KeyValue::new(ERROR_TYPE, PANIC));
            instruments.rejected_endpoints.add(count, &attributes);
        }
    }
}

impl Observed for Shared {
    fn staleness(&self, observe: &mut dyn FnMut(f64, &[KeyValue])) {
        let state = self.state.borrow();
        if state.answered.is_some() {
            observe(state.stale_time().unwrap_or_default().as_secs_f64(), &self.attributes);
        }
    }
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").field("service", &self.service()).finish_non_exhaustive()
    }
}
