//! The coordinator: begins transactions, drives those that are here to their end, and finds those whose coordinator has
//! died.
//!
//! Follows `docs/sagas.md`, "Pure core": it carries out the core's commands, at the times that clocks and policies set.

mod append;
mod builder;
mod call;
mod drive;
mod recover;
mod strays;
mod transaction;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep, timeout};

use self::append::read;
use self::builder::Options;
pub use self::builder::{CoordinatorBuilder, CoordinatorError};
pub use self::transaction::{BeginError, CommitError, Heuristic, Outcome, Transaction};
use super::KIND;
use super::flow::State;
use super::participant::Participant;
use super::telemetry::{Telemetry, alert};
use crate::error::InstanceError;
use crate::journal::Journal;

/// A coordinator of two-phase commits. Cloning is cheap.
///
/// When the last clone is dropped, everything stops where it is, as in a crash, and the next coordinator on the journal
/// goes on with it. [`shutdown`](Self::shutdown) is the gentle way.
#[derive(Clone)]
pub struct Coordinator {
    inner: Arc<Inner>,
    _running: Arc<StopOnDrop>,
}

pub(super) struct Inner {
    name: String,
    journal: Arc<dyn Journal>,
    participants: BTreeMap<String, Arc<dyn Participant>>,
    options: Options,
    telemetry: Telemetry,
    /// One for each transaction that was claimed. Those that were begun here are not counted.
    permits: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    /// How many transactions are driven here.
    driven: watch::Sender<usize>,
    /// One has ended here, or was handed over.
    moved: Notify,
    /// There is something to claim.
    poke: Notify,
    here: Mutex<HashMap<u64, Here>>,
    /// The number of the next of these.
    next: AtomicU64,
    loops: Mutex<Vec<AbortHandle>>,
    /// When the lease was last renewed.
    renewed: Mutex<Option<Instant>>,
    /// An answer was lost: the journal may say that this worker has a transaction, and it is not here.
    astray: AtomicBool,
}

/// A task that has a transaction, or waits for what becomes of one.
struct Here {
    id: String,
    task: AbortHandle,
}

impl Coordinator {
    /// A coordinator of this name over this journal, which is for transactions alone.
    ///
    /// The name is the first part of what participants know a transaction by. It is the same for all coordinators on one
    /// journal and after each restart. Coordinators on different journals that share a participant must have different ones:
    /// what is prepared under the name and not in the journal is rolled back.
    #[must_use]
    pub fn builder(journal: Arc<dyn Journal>, name: impl Into<String>) -> CoordinatorBuilder {
        CoordinatorBuilder::new(journal, name.into())
    }

    /// Begins a transaction of this name. Of one name and key there is one: whoever commits it again is told what has become
    /// of the first, and so a transaction that was aborted is tried again under another key.
    ///
    /// Nothing is durable yet. The span that is current is the parent of the transaction's.
    ///
    /// # Errors
    ///
    /// See [`BeginError`].
    pub fn begin(&self, name: &str, key: &str) -> Result<Transaction, BeginError> {
        Transaction::begin(&self.inner, name, key)
    }

    /// What has become of a transaction: its name, a slash and its key. None as long as it is not decided.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub async fn outcome(&self, id: &str) -> Result<Option<Outcome>, InstanceError> {
        Ok(Outcome::of(id, &self.inner.state(id).await?))
    }

    /// Waits until all participants have acknowledged, wherever the transaction is driven.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub async fn wait(&self, id: &str) -> Result<Outcome, InstanceError> {
        self.inner.until(id, |state| state.ended).await
    }

    /// Stops gently: nothing is begun any more, what is under way has `grace` to go as far as it can, and the rest is handed
    /// over to the other coordinators, or to the next one. True if nothing was cut off.
    pub async fn shutdown(self, grace: Duration) -> bool {
        let inner = &self.inner;
        inner.stopping.send_replace(true);
        let mut driven = inner.driven.subscribe();
        let ended = timeout(grace, driven.wait_for(|driven| *driven == 0)).await.is_ok();
        inner.abort();
        if let Err(error) = inner.journal.renew(&inner.options.worker, Duration::ZERO).await {
            alert("", "", "the lease was not given back", &error.to_string());
        }
        ended
    }
}

impl Inner {
    async fn state(&self, id: &str) -> Result<State, InstanceError> {
        let loaded = self.journal.load(id).await?;
        let loaded = loaded.ok_or_else(|| InstanceError::NotFound { id: id.to_owned() })?;
        read(&loaded).map_err(|source| InstanceError::Unreadable { id: id.to_owned(), source })
    }

    /// Waits until the transaction is so, and decided.
    async fn until(&self, id: &str, is: impl Fn(&State) -> bool) -> Result<Outcome, InstanceError> {
        loop {
            let moved = self.moved.notified();
            let state = self.state(id).await?;
            if is(&state)
                && let Some(outcome) = Outcome::of(id, &state)
            {
                return Ok(outcome);
            }
            tokio::select! {
                () = moved => {}
                () = sleep(self.options.poll) => {}
            }
        }
    }

    fn here(&self) -> MutexGuard<'_, HashMap<u64, Here>> {
        // Nothing in there panics halfway through a change.
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what drives this transaction, so that it is known to be here for as long as it is.
    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        id: &str,
        run: impl FnOnce(Present) -> BoxFuture<'static, T>,
    ) -> JoinHandle<T> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.driven.send_modify(|driven| *driven += 1);
        let present = Present { inner: Arc::clone(self), number };
        // Locked, so that a task which ends at once finds itself there.
        let mut here = self.here();
        let task = tokio::spawn(run(present));
        here.insert(number, Here { id: id.to_owned(), task: task.abort_handle() });
        task
    }

    /// The journal may say that this worker has a transaction of which nothing is known here.
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

/// A task is there for as long as this lives.
struct Present {
    inner: Arc<Inner>,
    number: u64,
}

impl Present {
    /// The transaction is not driven by this task any more: if it is by none, it can be let go of.
    fn lets_go(&self) {
        self.inner.here().remove(&self.number);
        self.inner.lost_an_answer();
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.inner.here().remove(&self.number);
        self.inner.driven.send_modify(|driven| *driven = driven.saturating_sub(1));
        self.inner.moved.notify_waiters();
    }
}

/// Ends a coordinator whose last handle is gone.
struct StopOnDrop(Arc<Inner>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stopping.send_replace(true);
        self.0.abort();
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

/// Why a text cannot be a coordinator's, a participant's or a transaction's name, if it cannot.
fn wrong_name(name: &str) -> bool {
    !(1..=40).contains(&name.len()) || name.chars().any(|one| one.is_control() || one == '/')
}
