//! A bounded pool of workers: tokio's tasks, of which a semaphore lets a limited number run at once.
//!
//! Follows the names of [tokio's `JoinSet`](https://docs.rs/tokio/latest/tokio/task/struct.JoinSet.html).

use std::collections::{HashMap, VecDeque};
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
    /// The tasks whose output was not taken, in the order of their spawn.
    order: VecDeque<Id>,
    /// The outputs of tasks that ended before an earlier one.
    ended: HashMap<Id, Result<T, JoinError>>,
}

impl<T: TaskOutput + Send + 'static> WorkerPool<T> {
    /// Creates a pool that runs `workers` tasks at once, at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = workers.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            tasks: JoinSet::new(),
            workers: Arc::new(Semaphore::new(workers)),
            order: VecDeque::new(),
            ended: HashMap::new(),
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
        self.order.push_back(spawned.id());
    }

    /// Waits for the next task that ends, and returns its output, or tokio's error if it panicked or was aborted. Returns
    /// `None` if there is no task. Cancel safe.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        let waiting = self.order.iter().find(|id| self.ended.contains_key(id)).copied();
        let (id, output) = match waiting.and_then(|id| self.ended.remove_entry(&id)) {
            Some(ended) => ended,
            None => self.join_any().await?,
        };
        self.order.retain(|other| *other != id);
        Some(output)
    }

    /// Waits for the earliest task whose output was not taken, and returns its output, or tokio's error if it panicked or was
    /// aborted. Returns `None` if there is no task. Cancel safe.
    pub async fn join_next_in_order(&mut self) -> Option<Result<T, JoinError>> {
        let first = *self.order.front()?;
        loop {
            if let Some(output) = self.ended.remove(&first) {
                self.order.pop_front();
                return Some(output);
            }
            let (id, output) = self.join_any().await?;
            self.ended.insert(id, output);
        }
    }

    /// Waits for all tasks and returns their outputs in the order in which they were spawned.
    pub async fn drain(mut self) -> Vec<Result<T, JoinError>> {
        let mut outputs = Vec::with_capacity(self.order.len());
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
        self.order.len()
    }

    /// Returns true if there is no task whose output was not taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    async fn join_any(&mut self) -> Option<(Id, Result<T, JoinError>)> {
        Some(match self.tasks.join_next_with_id().await? {
            Ok((id, output)) => (id, Ok(output)),
            Err(error) => (error.id(), Err(error)),
        })
    }
}

impl<T> fmt::Debug for WorkerPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("tasks", &self.order.len())
            .field("free", &self.workers.available_permits())
            .finish_non_exhaustive()
    }
}
