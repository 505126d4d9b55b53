//! The runtime: starts sagas, drives those that it owns, and claims those that are due or whose worker has died.
//!
//! Follows `docs/sagas.md`, "Pure core": it carries out the core's commands, at the times that clocks and policies
//! set.

mod append;
mod attempt;
mod builder;
mod create;
mod drive;
mod recover;
mod request;
mod resume;
mod slots;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::TraceContextExt as _;
use otel_operation::Outcome;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use self::builder::Options;
pub use self::builder::RuntimeBuilder;
use self::slots::Slots;
use crate::definition::{Definition, Saga, checked};
use crate::error::StartError;
use crate::flow::Started;
use crate::journal::{Journal, JournalError, now, unique};
use crate::lease::Lease;
use crate::shutdown::released;
use crate::telemetry::{Prepared, Telemetry, carried, hexadecimal, traceparent};

/// A worker: runs the registered sagas over a journal that other workers may share. Cloning is cheap.
///
/// When the last clone is dropped, all work stops as in a crash, and another worker on the journal continues it. Use
/// [`shutdown`](Self::shutdown) to let attempts end.
pub struct Runtime<S> {
    inner: Arc<Inner<S>>,
    running: Arc<StopOnDrop<S>>,
}

pub(crate) struct Inner<S> {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) state: Arc<S>,
    sagas: HashMap<(String, u32), RegisteredSaga<S>>,
    pub(crate) options: Options,
    pub(crate) telemetry: Telemetry,
    /// The number of instances that this worker drives.
    driven: Arc<watch::Sender<usize>>,
    pub(crate) stopping: watch::Sender<bool>,
    /// Wakes the claiming loop, because an instance may be due.
    wake_claimer: Arc<Notify>,
    local: Mutex<HashMap<String, LocalInstance>>,
    loops: Mutex<Vec<AbortHandle>>,
    lease: Lease,
    /// Set after a lost reply: the journal may assign an instance to this worker that it does not drive.
    ownership_unknown: AtomicBool,
}

/// A saga that is registered with this runtime.
struct RegisteredSaga<S> {
    definition: Arc<Definition<S>>,
    prepared: Arc<Prepared>,
    slots: Arc<Slots>,
}

impl<S> Clone for RegisteredSaga<S> {
    fn clone(&self) -> Self {
        let (prepared, slots) = (Arc::clone(&self.prepared), Arc::clone(&self.slots));
        Self { definition: Arc::clone(&self.definition), prepared, slots }
    }
}

/// An instance that this runtime drives.
struct LocalInstance {
    task: AbortHandle,
    /// Notified after a request was appended in this process.
    requested: Arc<Notify>,
    /// Closed when the instance is no longer driven by this worker.
    gone: watch::Receiver<()>,
}

impl<S: Send + Sync + 'static> Runtime<S> {
    /// Starts to build a runtime over this journal. All steps share `state`.
    #[must_use]
    pub fn builder(journal: Arc<dyn Journal>, state: S) -> RuntimeBuilder<S> {
        RuntimeBuilder::new(journal, state)
    }

    /// Starts a saga and returns its id: the saga's name, a slash and the key. A repeated key returns the same
    /// instance, whatever its status is, if its input equals this one. The journaled input is read as `I` for that
    /// comparison, also if another version of the saga wrote it. The start is durable when this returns.
    ///
    /// The current span is the parent of the start's span. Dropping the future does not stop the start.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. After [`StartError::Journal`], start the saga again with the same key.
    pub async fn start<I>(&self, saga: &Saga<S, I>, key: &str, input: I) -> Result<String, StartError>
    where
        I: Serialize + DeserializeOwned + PartialEq + Send + 'static,
    {
        let (name, version) = (saga.name(), saga.version());
        let Some(known) = self.inner.known(name, version) else {
            return Err(StartError::NotRegistered { saga: name.to_owned(), version });
        };
        if !(1..=200).contains(&key.len()) || key.chars().any(char::is_control) {
            return Err(StartError::Key);
        }
        if *self.inner.stopping.borrow() {
            return Err(StartError::ShuttingDown);
        }
        let id: Arc<str> = format!("{name}/{key}").into();
        let (input, decoded) = checked(input).map_err(StartError::Input)?;
        let is_same = move |stored: &Value| I::deserialize(stored).is_ok_and(|stored| stored == decoded);
        let span = self.inner.telemetry.start(&known.prepared, &id);
        let trace = traceparent(span.context().span().span_context());
        let parent =
            span.recording().map(|_| hexadecimal(Context::current().span().span_context().span_id()));
        let started = Started::new(name, version, known.definition.specs.clone(), input, now());
        let started = started.with_trace(trace).with_carried(carried(span.context()));
        let started = started.with_parent(parent).with_nonce(unique());
        // A spawned task, so that a caller that drops the future cannot stop the start halfway.
        let (runtime, known) = (self.clone(), known.clone());
        let creating = async move {
            let created = runtime.inner.create(&id, known, started, is_same).await;
            span.finish(&created.as_ref().map_or(Outcome::error("start_failed"), |()| Outcome::ok()));
            created.map(|()| id.to_string())
        };
        let created = tokio::spawn(creating.with_context(Context::current())).await;
        created.unwrap_or_else(|error| Err(StartError::Journal(JournalError::Unknown(error.into()))))
    }

    /// Shuts down: no attempt is started, running attempts have `grace` to end, and unfinished instances are released
    /// to other workers. Returns true if all attempts ended in time; the others are repeated by the next worker.
    ///
    /// The journal is no longer in use then: a file can be opened again. Who still holds it are the caller, a clone of this runtime,
    /// a start whose future was dropped, until it is journaled, and for more than a second a task whose thread is blocked.
    pub async fn shutdown(self, grace: Duration) -> bool {
        let inner = &self.inner;
        inner.stopping.send_replace(true);
        let mut driven = inner.driven.subscribe();
        let ended = tokio::time::timeout(grace, driven.wait_for(|driven| *driven == 0)).await.is_ok();
        inner.abort();
        inner.lease.release().await;
        // Every clone of the runtime holds `inner`, and `StopOnDrop` once for all of them; the others are tasks that were aborted.
        let is_held = || Arc::strong_count(inner) > Arc::strong_count(&self.running) + 1;
        released(is_held).await;
        ended
    }
}

impl<S: Send + Sync + 'static> Inner<S> {
    fn known(&self, saga: &str, version: u32) -> Option<&RegisteredSaga<S>> {
        self.sagas.get(&(saga.to_owned(), version))
    }
}

impl<S> Inner<S> {
    fn local(&self) -> MutexGuard<'_, HashMap<String, LocalInstance>> {
        // A poisoned lock is safe to use: no code below it panics halfway through a change.
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the journal may assign an instance to this worker that it does not drive.
    fn mark_ownership_unknown(&self) {
        self.ownership_unknown.store(true, Ordering::Relaxed);
        self.wake_claimer.notify_one();
    }

    /// Aborts all loops and instances.
    fn abort(&self) {
        self.telemetry.clear_gauges();
        let loops = std::mem::take(&mut *self.loops.lock().unwrap_or_else(PoisonError::into_inner));
        let local = std::mem::take(&mut *self.local());
        loops.iter().chain(local.values().map(|instance| &instance.task)).for_each(AbortHandle::abort);
    }
}

/// Stops the runtime when its last clone is dropped.
struct StopOnDrop<S>(Arc<Inner<S>>);

impl<S> Drop for StopOnDrop<S> {
    fn drop(&mut self) {
        self.0.stopping.send_replace(true);
        self.0.abort();
        self.0.lease.stop();
    }
}

impl<S> Clone for Runtime<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), running: Arc::clone(&self.running) }
    }
}

impl<S> fmt::Debug for Runtime<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("worker", &self.inner.options.worker)
            .field("journal", &self.inner.journal)
            .finish_non_exhaustive()
    }
}
