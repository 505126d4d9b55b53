//! Spans around parts of functions, which run where they are called.
//!
//! Follows the [OpenTelemetry tracing API](https://opentelemetry.io/docs/specs/otel/trace/api/#span).

use std::time::Duration;

use opentelemetry::KeyValue;
use otel_operation::Outcome;
use tokio::time::error::Elapsed;

use crate::cancellation::{CancelReason, Cancellation};
use crate::future::TaskFuture;
use crate::outcome::TaskOutput;
use crate::span::TaskSpan;

/// Runs a future inside of a span, which starts with the first poll and ends with the output. An `Err` is a failure
/// ([`TaskOutput`]); a future that is dropped before its end is `cancelled`.
pub async fn in_span<A, F>(span: impl Into<TaskSpan<A>>, future: F) -> F::Output
where
    A: FnOnce() -> Vec<KeyValue>,
    F: Future<Output: TaskOutput>,
{
    in_span_with(span, future, F::Output::outcome).await
}

/// Does the same as [`in_span`], with the outcome that `outcome` derives from the output.
pub async fn in_span_with<A, F, C>(span: impl Into<TaskSpan<A>>, future: F, outcome: C) -> F::Output
where
    A: FnOnce() -> Vec<KeyValue>,
    F: Future,
    C: FnOnce(&F::Output) -> Outcome,
{
    TaskFuture::new(future, span.into().start(false), outcome).await
}

/// Runs a function inside of a span, which ends with the output. An `Err` is a failure ([`TaskOutput`]).
pub fn in_span_sync<A, T>(span: impl Into<TaskSpan<A>>, code: impl FnOnce() -> T) -> T
where
    A: FnOnce() -> Vec<KeyValue>,
    T: TaskOutput,
{
    span.into().start(false).run(code, T::outcome)
}

/// Runs a future inside of a span for at most `limit`. One that takes longer is dropped, and its span ends as `cancelled` with
/// the reason `deadline`.
///
/// # Errors
/// Returns tokio's error if the limit has passed.
///
/// # Panics
/// If no tokio runtime with time enabled is current, as `tokio::time::timeout` does.
pub async fn timeout<A, F>(
    limit: Duration,
    span: impl Into<TaskSpan<A>>,
    future: F,
) -> Result<F::Output, Elapsed>
where
    A: FnOnce() -> Vec<KeyValue>,
    F: Future<Output: TaskOutput>,
{
    let cancellation = Cancellation::new();
    let span = span.into().with_cancellation(&cancellation);
    let mut running = Box::pin(in_span(span, future));
    let result = tokio::time::timeout(limit, running.as_mut()).await;
    if result.is_err() {
        // Before `running` is dropped.
        cancellation.set_reason(CancelReason::Deadline);
    }
    result
}
