//! tokio's locks, whose waits are a metric.
//!
//! Follows the names and errors of [tokio's](https://docs.rs/tokio/latest/tokio/sync/index.html#state-synchronization).

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::Context;
use otel_operation::catch_panic;
use tokio::sync::{AcquireError, MutexGuard, RwLockReadGuard, RwLockWriteGuard, SemaphorePermit};

use crate::instrumentation::TaskInstrumentation;
use crate::metrics::LockSeries;

/// A lock by its name. A string is one with the global instrumentation.
#[derive(Clone, Debug)]
pub struct Lock {
    name: Cow<'static, str>,
    /// `None` if the filter leaves the lock out.
    series: Option<Arc<LockSeries>>,
}

impl Lock {
    /// Describes the lock of this name, which must have low cardinality: the metric has it.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self::with(name.into(), TaskInstrumentation::global())
    }

    fn with(name: Cow<'static, str>, instrumentation: &TaskInstrumentation) -> Self {
        let is_recorded = instrumentation.options().is_recorded(&name);
        Self { series: is_recorded.then(|| instrumentation.lock_series(&name)), name }
    }

    /// Records with `instrumentation` instead of the global one.
    #[must_use]
    pub fn with_instrumentation(self, instrumentation: &TaskInstrumentation) -> Self {
        Self::with(self.name, instrumentation)
    }

    /// Measures a wait that begins now and ends when the value is dropped, also if it is given up.
    fn wait(&self) -> Wait<'_> {
        Wait { lock: self, since: Instant::now() }
    }
}

impl From<&'static str> for Lock {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Lock {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

struct Wait<'l> {
    lock: &'l Lock,
    since: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(series) = &self.lock.series {
            let waited = self.since.elapsed();
            // The context cannot be asked for while the thread ends.
            let _ = catch_panic(|| {
                if !Context::is_current_telemetry_suppressed() {
                    series.record_wait(waited);
                }
            });
        }
    }
}

/// tokio's [`Mutex`](tokio::sync::Mutex), whose waits are recorded. A lock that is free has none. It dereferences to tokio's for
/// everything else.
#[derive(Debug)]
pub struct Mutex<T> {
    inner: tokio::sync::Mutex<T>,
    lock: Lock,
}

impl<T> Mutex<T> {
    /// Creates a free mutex.
    #[must_use]
    pub fn new(lock: impl Into<Lock>, value: T) -> Self {
        Self { inner: tokio::sync::Mutex::new(value), lock: lock.into() }
    }

    /// Locks the mutex, once it is free.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        if let Ok(guard) = self.inner.try_lock() {
            return guard;
        }
        let _wait = self.lock.wait();
        self.inner.lock().await
    }

    /// Returns the value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T> Deref for Mutex<T> {
    type Target = tokio::sync::Mutex<T>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

/// tokio's [`RwLock`](tokio::sync::RwLock), whose waits are recorded. A lock that is free has none. It dereferences to tokio's
/// for everything else.
#[derive(Debug)]
pub struct RwLock<T> {
    inner: tokio::sync::RwLock<T>,
    lock: Lock,
}

impl<T> RwLock<T> {
    /// Creates a free lock.
    #[must_use]
    pub fn new(lock: impl Into<Lock>, value: T) -> Self {
        Self { inner: tokio::sync::RwLock::new(value), lock: lock.into() }
    }

    /// Locks for reading, as soon as no writer holds the lock.
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        if let Ok(guard) = self.inner.try_read() {
            return guard;
        }
        let _wait = self.lock.wait();
        self.inner.read().await
    }

    /// Locks for writing, as soon as neither a reader nor a writer holds the lock.
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        if let Ok(guard) = self.inner.try_write() {
            return guard;
        }
        let _wait = self.lock.wait();
        self.inner.write().await
    }

    /// Returns the value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T> Deref for RwLock<T> {
    type Target = tokio::sync::RwLock<T>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

/// tokio's [`Semaphore`](tokio::sync::Semaphore), whose waits are recorded. Permits that are free have none. It dereferences to
/// tokio's for everything else.
#[derive(Debug)]
pub struct Semaphore {
    inner: tokio::sync::Semaphore,
    lock: Lock,
}

impl Semaphore {
    /// Creates a semaphore with this number of permits.
    ///
    /// # Panics
    /// If the number is greater than tokio's limit.
    #[track_caller]
    #[must_use]
    pub fn new(lock: impl Into<Lock>, permits: usize) -> Self {
        Self { inner: tokio::sync::Semaphore::new(permits), lock: lock.into() }
    }

    /// Takes a permit, once there is one.
    ///
    /// # Errors
    /// tokio's error, if the semaphore is closed.
    pub async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1).await
    }

    /// Takes several permits, once there are so many.
    ///
    /// # Errors
    /// tokio's error, if the semaphore is closed.
    pub async fn acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        if let Ok(permit) = self.inner.try_acquire_many(permits) {
            return Ok(permit);
        }
        let _wait = self.lock.wait();
        self.inner.acquire_many(permits).await
    }
}

impl Deref for Semaphore {
    type Target = tokio::sync::Semaphore;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
