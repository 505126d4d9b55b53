//! tokio-util's `TaskTracker`, whose tasks run in the context in which they are spawned.
//!
//! Follows the names of [tokio-util's](https://docs.rs/tokio-util/latest/tokio_util/task/struct.TaskTracker.html).

use std::ops::Deref;

use opentelemetry::KeyValue;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, LocalSet};

use crate::future::ContextFuture;
use crate::outcome::TaskOutput;
use crate::span::TaskSpan;
use crate::spawn::{in_current_context, wrap, wrap_blocking};

/// tokio-util's [`TaskTracker`](tokio_util::task::TaskTracker), whose tasks run in the context in which they are spawned. It
/// dereferences to tokio-util's for everything else.
#[derive(Clone, Debug, Default)]
pub struct TaskTracker(tokio_util::task::TaskTracker);

impl TaskTracker {
    /// Creates a tracker without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task in the context that is current now.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.0.spawn(ContextFuture::current(task))
    }

    /// Spawns a task inside of a span of its own, with the metrics of a task.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn_with_span<A, F>(&self, span: impl Into<TaskSpan<A>>, task: F) -> JoinHandle<F::Output>
    where
        A: FnOnce() -> Vec<KeyValue>,
        F: Future<Output: TaskOutput + Send + 'static> + Send + 'static,
    {
        self.0.spawn(wrap(span, task))
    }

    /// Spawns a task on this runtime, in the context that is current now.
    #[track_caller]
    pub fn spawn_on<F>(&self, task: F, handle: &Handle) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.0.spawn_on(ContextFuture::current(task), handle)
    }

    /// Spawns a task on the current `LocalSet` or `LocalRuntime`, in the context that is current now.
    ///
    /// # Panics
    /// If no `LocalSet` or `LocalRuntime` is current.
    #[track_caller]
    pub fn spawn_local<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        self.0.spawn_local(ContextFuture::current(task))
    }

    /// Spawns a task on this `LocalSet`, in the context that is current now.
    #[track_caller]
    pub fn spawn_local_on<F>(&self, task: F, local_set: &LocalSet) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        self.0.spawn_local_on(ContextFuture::current(task), local_set)
    }

    /// Runs blocking code on another thread, in the context that is current now.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, task: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.0.spawn_blocking(in_current_context(task))
    }

    /// Runs blocking code on another thread, inside of a span of its own, with the metrics of a task.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn_blocking_with_span<A, F, T>(&self, span: impl Into<TaskSpan<A>>, task: F) -> JoinHandle<T>
    where
        A: FnOnce() -> Vec<KeyValue>,
        F: FnOnce() -> T + Send + 'static,
        T: TaskOutput + Send + 'static,
    {
        self.0.spawn_blocking(wrap_blocking(span, task))
    }

    /// Runs blocking code on a thread of this runtime, in the context that is current now.
    #[track_caller]
    pub fn spawn_blocking_on<F, T>(&self, task: F, handle: &Handle) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.0.spawn_blocking_on(in_current_context(task), handle)
    }
}

impl Deref for TaskTracker {
    type Target = tokio_util::task::TaskTracker;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
