//! The items that the code of the macros calls. Not part of the public API.
//!
//! Follows the code that `crates/otel-tasks-macros/src/function.rs` generates.

use opentelemetry::Value;
use otel_operation::Outcome;

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanKind;

use crate::future::TaskFuture;
use crate::operation::TaskOperation;
use crate::outcome::TaskOutput;
use crate::span::TaskSpan;

/// A started span.
#[derive(Debug)]
pub struct Started(TaskOperation);

/// Starts the span of a function, before its arguments are moved.
pub fn start<A: FnOnce() -> Vec<KeyValue>>(span: TaskSpan<A>) -> Started {
    Started(span.start(false))
}

/// Runs the body of an async function.
pub fn run<F, C>(started: Started, body: F, outcome: C) -> TaskFuture<F, C>
where
    F: Future,
    C: FnOnce(&F::Output) -> Outcome,
{
    TaskFuture::new(body, started.0, outcome)
}

/// Runs the body of a function that returns a future, and that future.
pub fn run_future<F, C>(started: Started, body: impl FnOnce() -> F, outcome: C) -> TaskFuture<F, C>
where
    F: Future,
    C: FnOnce(&F::Output) -> Outcome,
{
    let Started(mut operation) = started;
    let future = operation.inside(body);
    TaskFuture::new(future, operation, outcome)
}

/// Runs the body of a function.
pub fn run_sync<T>(started: Started, body: impl FnOnce() -> T, outcome: impl FnOnce(&T) -> Outcome) -> T {
    started.0.run(body, outcome)
}

/// Adds an attribute that has a value.
pub fn push(attributes: &mut Vec<KeyValue>, key: &'static str, value: Option<Value>) {
    attributes.extend(value.map(|value| KeyValue::new(key, value)));
}

/// An output whose outcome is that of its [`TaskOutput`], if it has one. The traits are tried in the order of the references
/// that a call has to remove.
#[derive(Debug)]
pub struct Output<'a, T>(&'a T);

/// Wraps an output.
pub fn output<T>(output: &T) -> Output<'_, T> {
    Output(output)
}

/// An output that has an outcome.
pub trait KnownOutcome {
    /// Returns the outcome.
    fn outcome(&self) -> Outcome;
}

impl<T: TaskOutput> KnownOutcome for &Output<'_, T> {
    fn outcome(&self) -> Outcome {
        self.0.outcome()
    }
}

/// Any other output, which is a success.
pub trait AnyOutcome {
    /// Returns the outcome.
    fn outcome(&self) -> Outcome;
}

impl<T> AnyOutcome for Output<'_, T> {
    fn outcome(&self) -> Outcome {
        Outcome::ok()
    }
}
