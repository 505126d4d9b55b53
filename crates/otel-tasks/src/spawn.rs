//! `spawn` and `spawn_blocking` of tokio, with the context.
//!
//! Follows the names and guarantees of [tokio's](https://docs.rs/tokio/latest/tokio/task/index.html).

use opentelemetry::{Context, KeyValue};
use tokio::task::JoinHandle;

use crate::context::in_context;
use crate::future::{ContextFuture, TaskFuture};
use crate::outcome::TaskOutput;
use crate::span::TaskSpan;

/// Spawns a task in the context that is current now, as [`tokio::spawn`] does without it.
///
/// # Panics
/// If no tokio runtime is current.
#[track_caller]
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(ContextFuture::current(task))
}

/// Spawns a task inside of a span of its own, with the metrics of a task.
///
/// # Panics
/// If no tokio runtime is current.
#[track_caller]
pub fn spawn_with_span<A, F>(span: impl Into<TaskSpan<A>>, task: F) -> JoinHandle<F::Output>
where
    A: FnOnce() -> Vec<KeyValue>,
    F: Future<Output: TaskOutput + Send + 'static> + Send + 'static,
{
    tokio::spawn(wrap(span, task))
}

/// Runs blocking code on another thread in the context that is current now, as [`tokio::task::spawn_blocking`] does without
/// it.
///
/// # Panics
/// If no tokio runtime is current.
#[track_caller]
pub fn spawn_blocking<F, T>(task: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(in_current_context(task))
}

/// Runs blocking code on another thread inside of a span of its own, with the metrics of a task.
///
/// # Panics
/// If no tokio runtime is current.
#[track_caller]
pub fn spawn_blocking_with_span<A, F, T>(span: impl Into<TaskSpan<A>>, task: F) -> JoinHandle<T>
where
    A: FnOnce() -> Vec<KeyValue>,
    F: FnOnce() -> T + Send + 'static,
    T: TaskOutput + Send + 'static,
{
    tokio::task::spawn_blocking(wrap_blocking(span, task))
}

/// Wraps a closure so that it runs in the context that is current now.
pub(crate) fn in_current_context<F: FnOnce() -> T, T>(task: F) -> impl FnOnce() -> T + use<F, T> {
    let context = Context::current();
    move || in_context(&context, task)
}

/// [`TaskSpan::wrap`] for a task whose span is started here, so that what is spawned does not contain the description.
pub(crate) fn wrap<A, F>(
    span: impl Into<TaskSpan<A>>,
    task: F,
) -> impl Future<Output = F::Output> + Send + 'static
where
    A: FnOnce() -> Vec<KeyValue>,
    F: Future<Output: TaskOutput> + Send + 'static,
{
    TaskFuture::new(task, span.into().start(true), F::Output::outcome)
}

pub(crate) fn wrap_blocking<A, F, T>(
    span: impl Into<TaskSpan<A>>,
    task: F,
) -> impl FnOnce() -> T + Send + 'static
where
    A: FnOnce() -> Vec<KeyValue>,
    F: FnOnce() -> T + Send + 'static,
    T: TaskOutput,
{
    let parts = (task, span.into().start(true));
    move || {
        let (task, operation) = parts;
        operation.run(task, T::outcome)
    }
}
