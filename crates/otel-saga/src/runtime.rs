//! The runtime: starts sagas, drives those that are here, and finds those whose worker has died.
//!
//! Follows `docs/sagas.md`, "Pure core": it carries out the core's commands, at the times that clocks and policies set.

mod append;
mod attempt;
mod builder;
mod create;
mod drive;
mod recover;
mod request;

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
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use self::builder::Options;
pub use self::builder::RuntimeBuilder;
use crate::definition::{Definition, Saga};
use crate::error::StartError;
use crate::flow::Started;
use crate::journal::{Journal, JournalError, now};
use crate::telemetry::{Prepared, Telemetry, hexadecimal, traceparent};

/// A worker: it runs the sagas that it was given, over a journal that other workers may share. Cloning is cheap.
///
/// When the last clone is dropped, everything stops where it is, as in a crash, and the next worker on the journal
/// goes on with it. [`shutdown`](Self::shutdown) is the gentle way.
pub struct Runtime<S> {
    inner: Arc<Inner<S>>,
    _running: Arc<StopOnDrop<S>>,
}

pub(crate) struct Inner<S> {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) state: Arc<S>,
    sagas: HashMap<(String, u32), Known<S>>,
    pub(crate) options: Options,
    pub(crate) telemetry: Telemetry,
    /// One for each instance that is here.
    permits: Arc<Semaphore>,
    pub(crate) stopping: watch::Sender<bool>,
    /// There is something to claim.
    poke: Notify,
    here: Mutex<HashMap<String, Here>>,
    loops: Mutex<Vec<AbortHandle>>,
    /// When the lease was last renewed.
    renewed: Mutex<Option<tokio::time::Instant>>,
    /// An answer was lost: the journal may say that this worker has an instance, and it is not here.
    astray: AtomicBool,
}

/// A saga that this runtime was given.
struct Known<S> {
    definition: Arc<Definition<S>>,
    prepared: Arc<Prepared>,
}

impl<S> Clone for Known<S> {
    fn clone(&self) -> Self {
        Self { definition: Arc::clone(&self.definition), prepared: Arc::clone(&self.prepared) }
    }
}

/// An instance that this runtime drives.
struct Here {
    task: AbortHandle,
    /// Somebody has appended a request.
    requested: Arc<Notify>,
    /// Closed when it is not here any more.
    gone: watch::Receiver<()>,
}

impl<S: Send + Sync + 'static> Runtime<S> {
    /// A runtime over this journal. `state` is what all steps share.
    #[must_use]
    pub fn builder(journal: Arc<dyn Journal>, state: S) -> RuntimeBuilder<S> {
        RuntimeBuilder::new(journal, state)
    }

    /// Starts a saga, and gives its id: the saga's name, a slash and the key. The same key again gives the same
    /// instance, whatever has become of it by then. When this returns, the start is durable.
    ///
    /// The span that is current is the parent of the whole saga. Dropping the future does not stop the start.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. After [`StartError::Journal`], start it again with the same key.
    pub async fn start<I>(&self, saga: &Saga<S, I>, key: &str, input: I) -> Result<String, StartError>
    where
        I: Serialize + DeserializeOwned + Send + 'static,
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
        let input = serde_json::to_value(input).map_err(StartError::Input)?;
        let span = self.inner.telemetry.start(&known.prepared, &id);
        let trace = traceparent(span.context().span().span_context());
        let parent =
            span.recording().map(|_| hexadecimal(Context::current().span().span_context().span_id()));
        let started = Started::new(name, version, known.definition.shapes.clone(), input, now());
        let started = started.with_trace(trace).with_parent(parent);
        // In a task of its own: a caller that does not wait for the answer cannot stop it halfway.
        let (runtime, known) = (self.clone(), known.clone());
        let creating = async move {
            let created = runtime.inner.create(&id, known, started).await;
            span.finish(&created.as_ref().map_or(Outcome::error("start_failed"), |()| Outcome::ok()));
            created.map(|()| id.to_string())
        };
        let created = tokio::spawn(creating.with_context(Context::current())).await;
        created.unwrap_or_else(|error| Err(StartError::Journal(JournalError::Unknown(error.into()))))
    }

    /// Stops gently: nothing is started any more, attempts that are under way have `grace` to end, and what is not
    /// finished is handed over to the other workers, or to the next one. True if all attempts ended in time; those that
    /// did not are asked again by whoever goes on.
    pub async fn shutdown(self, grace: Duration) -> bool {
        let inner = &self.inner;
        inner.stopping.send_replace(true);
        let all = u32::try_from(inner.options.concurrency).unwrap_or(u32::MAX);
        let ended = tokio::time::timeout(grace, inner.permits.acquire_many(all)).await.is_ok();
        inner.abort();
        // What is left has no worker any more, and need not wait for the lease to end.
        if let Err(error) = inner.journal.renew(&inner.options.worker, Duration::ZERO).await {
            crate::telemetry::alert("", "", "the lease was not given back", &error.to_string());
        }
        ended
    }
}

impl<S: Send + Sync + 'static> Inner<S> {
    fn known(&self, saga: &str, version: u32) -> Option<&Known<S>> {
        self.sagas.get(&(saga.to_owned(), version))
    }
}

impl<S> Inner<S> {
    fn here(&self) -> MutexGuard<'_, HashMap<String, Here>> {
        // Nothing in there panics halfway through a change.
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The journal may say that this worker has an instance of which nothing is known here.
    fn lost_an_answer(&self) {
        self.astray.store(true, Ordering::Relaxed);
        self.poke.notify_one();
    }

    /// Ends everything where it is.
    fn abort(&self) {
        let loops = std::mem::take(&mut *self.loops.lock().unwrap_or_else(PoisonError::into_inner));
        let here = std::mem::take(&mut *self.here());
        loops.iter().chain(here.values().map(|here| &here.task)).for_each(AbortHandle::abort);
    }
}

/// Ends a runtime whose last handle is gone.
struct StopOnDrop<S>(Arc<Inner<S>>);

impl<S> Drop for StopOnDrop<S> {
    fn drop(&mut self) {
        self.0.stopping.send_replace(true);
        self.0.abort();
    }
}

impl<S> Clone for Runtime<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), _running: Arc::clone(&self._running) }
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
