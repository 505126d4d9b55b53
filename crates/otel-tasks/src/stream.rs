//! Streams and fan-out: a span for each item, on the combinators of `futures`.
//!
//! Follows the names of [`futures`](https://docs.rs/futures/latest/futures/stream/trait.StreamExt.html).

use futures_core::Stream;
use futures_util::StreamExt as _;
use opentelemetry::KeyValue;

use crate::cancellation::{CancelReason, Cancellation};
use crate::future::TaskFuture;
use crate::outcome::TaskOutput;
use crate::span::TaskSpan;

/// Spans for the items of a stream.
pub trait MapTraced: Stream + Sized {
    /// Maps each item to a task inside of a span of its own, as `map` does without it. Run the tasks with `buffered`,
    /// `buffer_unordered` or `then` of `futures`.
    ///
    /// The parent is the span that is current where the stream is polled.
    fn map_traced<A, F, M>(
        self,
        span: impl Into<TaskSpan<A>>,
        mut map: M,
    ) -> impl Stream<Item = TaskFuture<F>>
    where
        A: FnOnce() -> Vec<KeyValue> + Clone,
        F: Future<Output: TaskOutput>,
        M: FnMut(Self::Item) -> F,
    {
        let span = span.into();
        self.map(move |item| span.clone().wrap(map(item)))
    }
}

impl<S: Stream> MapTraced for S {}

/// Runs tasks concurrently, each inside of a span of its own, and returns their outputs in the order of the tasks. Each error
/// is recorded on the span of its task.
pub async fn join_all<A, F>(
    span: impl Into<TaskSpan<A>>,
    tasks: impl IntoIterator<Item = F>,
) -> Vec<F::Output>
where
    A: FnOnce() -> Vec<KeyValue> + Clone,
    F: Future<Output: TaskOutput>,
{
    let span = span.into();
    futures_util::future::join_all(tasks.into_iter().map(|task| span.clone().wrap(task))).await
}

/// Runs tasks concurrently, each inside of a span of its own, until one fails. The others are then dropped: their spans end as
/// `cancelled` with the reason `sibling_failed`.
///
/// # Errors
/// Returns the first error.
///
/// The spans of the futures that are dropped then have the reason `sibling_failed`, unless `span` has a [`Cancellation`] of its own.
pub async fn try_join_all<A, F, T, E>(
    span: impl Into<TaskSpan<A>>,
    tasks: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, E>
where
    A: FnOnce() -> Vec<KeyValue> + Clone,
    F: Future<Output = Result<T, E>>,
    E: 'static,
{
    let cancellation = Cancellation::new();
    let span = span.into().with_default_cancellation(&cancellation);
    let tasks = tasks.into_iter().map(|task| {
        let cancellation = &cancellation;
        span.clone().wrap(async move {
            let result = task.await;
            if result.is_err() {
                // Before the others are dropped, which happens inside of `futures`.
                cancellation.set_reason(CancelReason::SiblingFailed);
            }
            result
        })
    });
    futures_util::future::try_join_all(tasks).await
}
