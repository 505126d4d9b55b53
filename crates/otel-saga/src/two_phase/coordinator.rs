//! The coordinator: begins transactions, drives those that it owns, and claims those that are due or whose
//! coordinator has died.
//!
//! Follows `docs/sagas.md`, "Pure core": it carries out the core's commands, at the times that clocks and policies
//! set.

mod append;
mod builder;
mod call;
mod drive;
mod recover;
mod strays;
mod transaction;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, timeout};

use self::append::read;
use self::builder::Options;
pub use self::builder::{CoordinatorBuilder, CoordinatorError};
pub use self::transaction::{BeginError, CommitError, Heuristic, Outcome, Transaction};
use super::KIND;
use super::flow::State;
use super::participant::Participant;
use super::telemetry::Telemetry;
use crate::error::InstanceError;
use crate::journal::{Journal, JournalError};
use crate::lease::Lease;
use crate::shutdown::released;

/// A coordinator of two-phase commits. Cloning is cheap.
///
/// When the last clone is dropped, all work stops as in a crash, and another coordinator on the journal continues it.
/// Use [`shutdown`](Self::shutdown) to let transactions finish.
#[derive(Clone)]
pub struct Coordinator {
    inner: Arc<Inner>,
    running: Arc<StopOnDrop>,
}

pub(super) struct Inner {
    name: String,
    journal: Arc<dyn Journal>,
    participants: BTreeMap<String, Arc<dyn Participant>>,
    options: Options,
    telemetry: Telemetry,
    /// One permit for each claimed transaction. Transactions that this coordinator began need none.
    permits: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    /// The number of transactions that this coordinator drives.
    driven: watch::Sender<usize>,
    /// Notified when a task of this coordinator stops driving a transaction.
    progress: Notify,
    /// Wakes the claiming loop, because a transaction may be due.
    wake_claimer: Notify,
    local: Mutex<HashMap<u64, LocalTask>>,
    /// Key of the next entry of `local`.
    next: AtomicU64,
    loops: Mutex<Vec<AbortHandle>>,
    lease: Lease,
    /// True if the participants remember this journal, or none.
    is_same_journal: AtomicBool,
    /// Unknown branches, and participants that remember another journal, that have raised an alert.
    reported: Mutex<HashSet<String>>,
    /// Set after a lost reply: the journal may assign a transaction to this worker that it does not drive.
    ownership_unknown: AtomicBool,
}

/// A task that drives a transaction, or waits for its outcome.
struct LocalTask {
    id: String,
    task: AbortHandle,
}

impl Coordinator {
    /// Starts to build a coordinator of this name over this journal, which must hold only transactions.
    ///
    /// The name is the first part of the identifier by which participants know a transaction. All coordinators on one
    /// journal use the same name, also after a restart. Coordinators on different journals that share a participant
    /// must have different names, because a branch that is prepared under the name and is not in the journal is
    /// rolled back. Participants remember the identity of the journal: see
    /// [`CoordinatorBuilder::with_new_journal`].
    #[must_use]
    pub fn builder(journal: Arc<dyn Journal>, name: impl Into<String>) -> CoordinatorBuilder {
        CoordinatorBuilder::new(journal, name.into())
    }

    /// Begins a transaction. A name and a key identify it: a repeated commit returns the outcome of the first one, so
    /// that an aborted transaction has to be retried under another key.
    ///
    /// Nothing is durable yet. The current span is the parent of the transaction's span.
    ///
    /// # Errors
    ///
    /// See [`BeginError`].
    pub fn begin(&self, name: &str, key: &str) -> Result<Transaction, BeginError> {
        Transaction::begin(&self.inner, name, key)
    }

    /// Returns the outcome of a transaction, whose id is its name, a slash and its key. Returns `None` while it is
    /// undecided.
    ///
    /// # Errors
    ///
    /// Returns an error if the transaction does not exist or cannot be read.
    pub async fn outcome(&self, id: &str) -> Result<Option<Outcome>, InstanceError> {
        Ok(Outcome::of(id, &self.inner.state(id).await?))
    }

    /// Waits until all participants have acknowledged, on any coordinator. While the journal is unavailable, it is asked
    /// again at each poll interval.
    ///
    /// # Errors
    ///
    /// Returns an error if the transaction does not exist, cannot be read, or its data are damaged.
    pub async fn wait(&self, id: &str) -> Result<Outcome, InstanceError> {
        self.inner.until(id, |state| state.ended).await
    }

    /// Shuts down: no transaction is begun, running ones have `grace` to make progress, and the rest is released to
    /// other coordinators. Returns true if no transaction was interrupted.
    ///
    /// The journal is no longer in use then: a file can be opened again. Who still holds it are the caller, a clone of this coordinator,
    /// and a [`Transaction`] or a task whose thread is blocked, for which the shutdown waits a second.
    pub async fn shutdown(self, grace: Duration) -> bool {
        let inner = &self.inner;
        inner.stopping.send_replace(true);
        let mut driven = inner.driven.subscribe();
        let ended = timeout(grace, driven.wait_for(|driven| *driven == 0)).await.is_ok();
        inner.abort();
        inner.lease.release().await;
        // Every clone of the coordinator holds `inner`, and `StopOnDrop` once for all of them; the others are tasks that were aborted,
        // and transactions.
        let is_held = || Arc::strong_count(inner) > Arc::strong_count(&self.running) + 1;
        released(is_held).await;
        ended
    }
}

impl Inner {
    async fn state(&self, id: &str) -> Result<State, InstanceError> {
        let loaded = self.journal.load(id).await?;
        let loaded = loaded.ok_or_else(|| InstanceError::NotFound { id: id.to_owned() })?;
        read(&loaded).map_err(|source| InstanceError::Unreadable { id: id.to_owned(), source })
    }

    /// Waits until the transaction is decided and `is` holds for its state.
    async fn until(&self, id: &str, is: impl Fn(&State) -> bool) -> Result<Outcome, InstanceError> {
        loop {
            let progress = self.progress.notified();
            match self.state(id).await {
                Ok(state) if is(&state) => {
                    if let Some(outcome) = Outcome::of(id, &state) {
                        return Ok(outcome);
                    }
                }
                Ok(_) | Err(InstanceError::Journal(JournalError::Failed(_) | JournalError::Unknown(_))) => {}
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = progress => {}
                () = sleep(self.options.poll) => {}
            }
        }
    }

    fn local(&self) -> MutexGuard<'_, HashMap<u64, LocalTask>> {
        // A poisoned lock is safe to use: no code below it panics halfway through a change.
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns a task that drives this transaction, and registers it in `local` until it ends.
    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        id: &str,
        run: impl FnOnce(LocalGuard) -> BoxFuture<'static, T>,
    ) -> JoinHandle<T> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.driven.send_modify(|driven| *driven += 1);
        let guard = LocalGuard { inner: Arc::clone(self), number };
        // The lock is held while spawning, so that a task that ends at once finds its entry.
        let mut local = self.local();
        let task = tokio::spawn(run(guard));
        local.insert(number, LocalTask { id: id.to_owned(), task: task.abort_handle() });
        task
    }

    /// Records that the journal may assign a transaction to this worker that it does not drive.
    fn mark_ownership_unknown(&self) {
        self.ownership_unknown.store(true, Ordering::Relaxed);
        self.wake_claimer.notify_one();
    }

    /// Aborts all loops and tasks.
    fn abort(&self) {
        self.telemetry.set_gauges(Vec::new());
        let loops = std::mem::take(&mut *self.loops.lock().unwrap_or_else(PoisonError::into_inner));
        let local = std::mem::take(&mut *self.local());
        loops.iter().chain(local.values().map(|task| &task.task)).for_each(AbortHandle::abort);
    }
}

/// The registration of a task in `local`, removed when it is dropped.
struct LocalGuard {
    inner: Arc<Inner>,
    number: u64,
}

impl LocalGuard {
    /// Removes the registration early: this task no longer drives the transaction, and if no other task does, it is
    /// released.
    fn release(&self) {
        self.inner.local().remove(&self.number);
        self.inner.mark_ownership_unknown();
    }
}

impl Drop for LocalGuard {
    fn drop(&mut self) {
        self.inner.local().remove(&self.number);
        self.inner.driven.send_modify(|driven| *driven = driven.saturating_sub(1));
        self.inner.progress.notify_waiters();
    }
}

/// Stops the coordinator when its last clone is dropped.
struct StopOnDrop(Arc<Inner>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stopping.send_replace(true);
        self.0.abort();
        self.0.lease.stop();
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("name", &self.inner.name)
            .field("worker", &self.inner.options.worker)
            .field("journal", &self.inner.journal)
            .field("participants", &self.inner.participants.keys())
            .finish_non_exhaustive()
    }
}

/// Returns true if the text cannot be the name of a coordinator, a participant or a transaction.
fn wrong_name(name: &str) -> bool {
    !(1..=40).contains(&name.len()) || name.chars().any(|one| one.is_control() || one == '/')
}
