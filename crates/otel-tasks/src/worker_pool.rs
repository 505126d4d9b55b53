//! A bounded pool of workers: tokio's tasks, of which a semaphore lets a limited number run at once.
//!
//! Follows the names of [tokio's `JoinSet`](https://docs.rs/tokio/latest/tokio/task/struct.JoinSet.html).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use opentelemetry::KeyValue;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError};

use crate::cancellation::CancelReason;
use crate::future::TaskFuture;
use crate::join_set::JoinSet;
use crate::outcome::TaskOutput;
use crate::span::TaskSpan;

/// A pool that runs a limited number of tasks at once. Outputs are taken in the order in which the tasks end
/// ([`join_next`](Self::join_next)) or in which they were spawned ([`join_next_in_order`](Self::join_next_in_order)).
///
/// A task's queue time is its wait for a worker. Dropping the pool aborts its tasks, with the reason `caller_gone`.
pub struct WorkerPool<T> {
    tasks: JoinSet<T>,
    workers: Arc<Semaphore>,
    /// The number of the next task: tasks are numbered in the order of their spawn.
    next: u64,
    /// The numbers of the tasks whose end was not seen, and the same by the ids of the tasks.
    running: BTreeSet<u64>,
    numbers: HashMap<Id, u64>,
    /// The outputs of tasks that ended while an earlier one was waited for.
    ended: BTreeMap<u64, Result<T, JoinError>>,
}

impl<T: TaskOutput + Send + 'static> WorkerPool<T> {
    /// Creates a pool that runs `workers` tasks at once, at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = workers.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            tasks: JoinSet::new(),
            workers: Arc::new(Semaphore::new(workers)),
            next: 0,
            running: BTreeSet::new(),
            numbers: HashMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Waits for a worker and spawns a task inside of a span of its own. The span starts with the wait: if that is given up,
    /// the task is `cancelled`.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    pub async fn spawn<A, F>(&mut self, span: impl Into<TaskSpan<A>>, task: F)
    where
        A: FnOnce() -> Vec<KeyValue>,
        F: Future<Output = T> + Send + 'static,
    {
        let span = span.into().with_default_cancellation(self.tasks.cancellation());
        let task = TaskFuture::new(task, span.start(true), T::outcome);
        // The semaphore is never closed.
        let worker = Arc::clone(&self.workers).acquire_owned().await;
        let spawned = self.tasks.spawn_wrapped(async move {
            let output = task.await;
            drop(worker);
            output
        });
        self.running.insert(self.next);
        self.numbers.insert(spawned.id(), self.next);
        self.next += 1;
    }

    /// Waits for the next task that ends, and returns its output, or tokio's error if it panicked or was aborted. Returns
    /// `None` if there is no task. Cancel safe.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        if let Some((_, output)) = self.ended.pop_first() {
            return Some(output);
        }
        Some(self.join_any().await?.1)
    }

    /// Waits for the earliest task whose output was not taken, and returns its output, or tokio's error if it panicked or was
    /// aborted. Returns `None` if there is no task. Cancel safe.
    pub async fn join_next_in_order(&mut self) -> Option<Result<T, JoinError>> {
        loop {
            if let Some(ended) = self.ended.first_entry()
                && self.running.first().is_none_or(|running| ended.key() < running)
            {
                return Some(ended.remove());
            }
            let (number, output) = self.join_any().await?;
            self.ended.insert(number, output);
        }
    }

    /// Waits for all tasks and returns their outputs in the order in which they were spawned.
    pub async fn drain(mut self) -> Vec<Result<T, JoinError>> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(output) = self.join_next_in_order().await {
            outputs.push(output);
        }
        outputs
    }

    /// Aborts all tasks with the reason `shutdown`, waits until they have ended, and returns the outputs of those that ended
    /// before, in the order in which they were spawned.
    pub async fn shutdown(mut self) -> Vec<Result<T, JoinError>> {
        self.tasks.abort_all_with_reason(CancelReason::Shutdown);
        self.drain().await
    }

    /// Returns the number of tasks whose output was not taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len() + self.ended.len()
    }

    /// Returns true if there is no task whose output was not taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for a task that ends, and returns its number and its output.
    async fn join_any(&mut self) -> Option<(u64, Result<T, JoinError>)> {
        let (id, output) = match self.tasks.join_next_with_id().await? {
            Ok((id, output)) => (id, Ok(output)),
            Err(error) => (error.id(), Err(error)),
        };
        // Each task of the set has a number.
        let number = self.numbers.remove(&id)?;
        self.running.remove(&number);
        Some((number, output))
    }
}

impl<T> fmt::Debug for WorkerPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("tasks", &(self.running.len() + self.ended.len()))
            .field("free", &self.workers.available_permits())
            .finish_non_exhaustive()
    }
}
