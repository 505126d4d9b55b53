//! tokio's `JoinSet`, whose tasks run in the context in which they are spawned.
//!
//! Follows the names of [tokio's](https://docs.rs/tokio/latest/tokio/task/struct.JoinSet.html).

use std::fmt;
use std::ops::{Deref, DerefMut};

use opentelemetry::KeyValue;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, LocalSet};

use crate::cancellation::{CancelReason, Cancellation};
use crate::future::ContextFuture;
use crate::outcome::TaskOutput;
use crate::span::TaskSpan;
use crate::spawn::{in_current_context, wrap, wrap_blocking};

/// tokio's [`JoinSet`](tokio::task::JoinSet), whose tasks run in the context in which they are spawned. It dereferences to
/// tokio's for everything else.
///
/// The span of a task that is aborted by [`shutdown`](Self::shutdown), by
/// [`abort_all_with_reason`](Self::abort_all_with_reason) or by the drop of the set has the reason.
pub struct JoinSet<T> {
    inner: tokio::task::JoinSet<T>,
    cancellation: Cancellation,
}

impl<T> JoinSet<T> {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: tokio::task::JoinSet::new(), cancellation: Cancellation::new() }
    }
}

impl<T: 'static> JoinSet<T> {
    /// Spawns a task in the context that is current now.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.inner.spawn(ContextFuture::current(task))
    }

    /// Spawns a task inside of a span of its own, with the metrics of a task.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn_with_span<A, F>(&mut self, span: impl Into<TaskSpan<A>>, task: F) -> AbortHandle
    where
        A: FnOnce() -> Vec<KeyValue>,
        F: Future<Output = T> + Send + 'static,
        T: TaskOutput + Send,
    {
        let span = span.into().with_default_cancellation(&self.cancellation);
        self.inner.spawn(wrap(span, task))
    }

    /// Spawns a task on this runtime, in the context that is current now.
    #[track_caller]
    pub fn spawn_on<F>(&mut self, task: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.inner.spawn_on(ContextFuture::current(task), handle)
    }

    /// Spawns a task on the current `LocalSet` or `LocalRuntime`, in the context that is current now.
    ///
    /// # Panics
    /// If no `LocalSet` or `LocalRuntime` is current.
    #[track_caller]
    pub fn spawn_local<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.inner.spawn_local(ContextFuture::current(task))
    }

    /// Spawns a task on this `LocalSet`, in the context that is current now.
    #[track_caller]
    pub fn spawn_local_on<F>(&mut self, task: F, local_set: &LocalSet) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.inner.spawn_local_on(ContextFuture::current(task), local_set)
    }

    /// Runs blocking code on another thread, in the context that is current now.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, task: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.inner.spawn_blocking(in_current_context(task))
    }

    /// Runs blocking code on another thread, inside of a span of its own, with the metrics of a task.
    ///
    /// # Panics
    /// If no tokio runtime is current.
    #[track_caller]
    pub fn spawn_blocking_with_span<A, F>(&mut self, span: impl Into<TaskSpan<A>>, task: F) -> AbortHandle
    where
        A: FnOnce() -> Vec<KeyValue>,
        F: FnOnce() -> T + Send + 'static,
        T: TaskOutput + Send,
    {
        let span = span.into().with_default_cancellation(&self.cancellation);
        self.inner.spawn_blocking(wrap_blocking(span, task))
    }

    /// Runs blocking code on a thread of this runtime, in the context that is current now.
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, task: F, handle: &Handle) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.inner.spawn_blocking_on(in_current_context(task), handle)
    }

    pub(crate) fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Spawns a task that has its context.
    pub(crate) fn spawn_wrapped<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.inner.spawn(task)
    }

    /// Aborts all tasks, and records the reason on the spans of those that have not ended.
    pub fn abort_all_with_reason(&mut self, reason: CancelReason) {
        self.end_cancellation().set_reason(reason);
        self.inner.abort_all();
    }

    /// Replaces the cancellation, so that its reason is that of the present tasks alone.
    fn end_cancellation(&mut self) -> Cancellation {
        std::mem::take(&mut self.cancellation)
    }

    /// Aborts all tasks with the reason `shutdown` and waits until they have ended.
    pub async fn shutdown(&mut self) {
        self.end_cancellation().set_reason(CancelReason::Shutdown);
        self.inner.shutdown().await;
    }

    /// Waits for all tasks and returns their outputs in the order in which they ended.
    ///
    /// # Panics
    /// If a task panicked or was aborted.
    pub async fn join_all(mut self) -> Vec<T> {
        // Not moved out of `self`: dropped midway, this future records the reason of the tasks' end.
        let mut outputs = Vec::with_capacity(self.inner.len());
        while let Some(joined) = self.inner.join_next().await {
            match joined {
                Ok(output) => outputs.push(output),
                Err(error) => resume(error),
            }
        }
        outputs
    }
}

/// Panics as tokio's `join_all` does.
#[expect(clippy::panic, reason = "the contract of tokio's `join_all`")]
fn resume(error: tokio::task::JoinError) -> ! {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("{error}"),
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        // The set aborts what it still has.
        self.cancellation.set_reason(CancelReason::CallerGone);
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for JoinSet<T> {
    type Target = tokio::task::JoinSet<T>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl<T> DerefMut for JoinSet<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl<T, F> FromIterator<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(tasks: I) -> Self {
        let mut set = Self::new();
        for task in tasks {
            set.spawn(task);
        }
        set
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.inner.len()).finish_non_exhaustive()
    }
}
