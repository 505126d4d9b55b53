//! The metrics of a pool of connections: waits, uses, new connections, and the state of the pool.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-metrics/#connection-pools) (in Development).

mod metrics;

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::client::ClientState;
use crate::pool::metrics::{PoolInstruments, observe_pool};

/// The connections of a pool at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// Open connections that nobody uses.
    pub idle: u64,
    /// Open connections in use.
    pub used: u64,
    /// The maximum number of open connections; `None` without a limit.
    pub max: Option<u64>,
    /// The maximum number of idle connections; `None` without a limit.
    pub idle_max: Option<u64>,
    /// The number of connections that the pool keeps open; `None` if it keeps none.
    pub idle_min: Option<u64>,
}

impl PoolSnapshot {
    /// Creates the snapshot of a pool without limits.
    #[must_use]
    pub fn new(idle: u64, used: u64) -> Self {
        Self { idle, used, ..Self::default() }
    }

    /// Sets the limits of the pool.
    #[must_use]
    pub fn with_limits(mut self, max: Option<u64>, idle_max: Option<u64>, idle_min: Option<u64>) -> Self {
        (self.max, self.idle_max, self.idle_min) = (max, idle_max, idle_min);
        self
    }
}

/// A pool whose state is read at each collection of metrics.
pub trait ObservedPool: Send + Sync {
    /// Returns the connections of the pool, without waiting for a lock that a user of the pool may hold for long.
    fn snapshot(&self) -> PoolSnapshot;
}

/// The metrics of one pool. Cloning is cheap.
#[derive(Clone)]
pub struct PoolMetrics(Arc<Inner>);

struct Inner {
    client: Arc<ClientState>,
    instruments: OnceLock<PoolInstruments>,
    observed: OnceLock<Weak<dyn ObservedPool>>,
    is_observed: OnceLock<()>,
}

impl PoolMetrics {
    pub(crate) fn new(client: Arc<ClientState>) -> Self {
        let (instruments, observed, is_observed) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { client, instruments, observed, is_observed }))
    }

    /// Sets the pool whose connections are counted at each collection, from the first wait on that finds a meter provider.
    /// A later call has no effect.
    pub fn observe(&self, pool: Weak<dyn ObservedPool>) {
        let _ = self.0.observed.set(pool);
    }

    #[inline]
    fn instruments(&self) -> Option<&PoolInstruments> {
        let Inner { client, instruments, observed, is_observed } = &*self.0;
        let meter = client.meter()?;
        let instruments = instruments.get_or_init(|| PoolInstruments::new(meter, pool_name(client)));
        if is_observed.get().is_none()
            && let Some(pool) = observed.get()
        {
            is_observed.get_or_init(|| observe_pool(meter, instruments.name().clone(), Weak::clone(pool)));
        }
        Some(instruments)
    }

    /// Starts a wait for a connection, which counts as a pending request until it ends.
    pub fn start_wait(&self) -> ConnectionWait {
        let pending =
            self.instruments().inspect(|instruments| instruments.pending.add(1)).map(|_| self.clone());
        ConnectionWait { pending, started: Instant::now() }
    }

    /// Starts the use of a connection, which ends when the guard is dropped.
    pub fn start_use(&self) -> ConnectionUse {
        let used = self.instruments().map(|_| (self.clone(), Instant::now()));
        ConnectionUse(used)
    }

    /// Records the time that it took to open a connection.
    pub fn record_created(&self, elapsed: Duration) {
        if let Some(instruments) = self.instruments() {
            instruments.create_time.record(elapsed.as_secs_f64());
        }
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics").field("name", &pool_name(&self.0.client)).finish_non_exhaustive()
    }
}

/// The name of a pool: the given one, else the address of the server and the name of the database, else the system.
fn pool_name(client: &ClientState) -> Arc<str> {
    if let Some(name) = &client.options.pool_name {
        return Arc::clone(name);
    }
    let server = client.facts.server.as_ref().map(|(address, port)| match port {
        Some(port) => format!("{address}:{port}"),
        None => address.to_string(),
    });
    let parts: Vec<&str> = server.as_deref().into_iter().chain(client.facts.namespace.as_deref()).collect();
    if parts.is_empty() { client.system.into() } else { parts.join("/").into() }
}

/// A wait for a connection. Dropping it ends the wait without a connection.
#[must_use = "the wait ends when it is dropped"]
pub struct ConnectionWait {
    pending: Option<PoolMetrics>,
    started: Instant,
}

impl ConnectionWait {
    /// Ends the wait with a connection, and returns its length.
    pub fn finish(mut self) -> Duration {
        let waited = self.started.elapsed();
        let pool = self.pending.take();
        if let Some(instruments) = pool.as_ref().and_then(PoolMetrics::instruments) {
            instruments.pending.add(-1);
            instruments.wait_time.record(waited.as_secs_f64());
        }
        waited
    }

    /// Ends the wait because the pool's own timeout has passed.
    pub fn time_out(mut self) {
        let pool = self.pending.take();
        if let Some(instruments) = pool.as_ref().and_then(PoolMetrics::instruments) {
            instruments.pending.add(-1);
            instruments.timeouts.add(1);
        }
    }
}

impl Drop for ConnectionWait {
    fn drop(&mut self) {
        if let Some(instruments) = self.pending.as_ref().and_then(PoolMetrics::instruments) {
            instruments.pending.add(-1);
        }
    }
}

impl fmt::Debug for ConnectionWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionWait").field("started", &self.started).finish_non_exhaustive()
    }
}

/// The use of a connection, which ends when it is dropped.
#[must_use = "the use ends when it is dropped"]
pub struct ConnectionUse(Option<(PoolMetrics, Instant)>);

impl Drop for ConnectionUse {
    fn drop(&mut self) {
        if let Some((pool, started)) = &self.0
            && let Some(instruments) = pool.instruments()
        {
            instruments.use_time.record(started.elapsed().as_secs_f64());
        }
    }
}

impl fmt::Debug for ConnectionUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionUse").finish_non_exhaustive()
    }
}
