//! The description of the span of a task or of a part of a function, and its start.
//!
//! Follows the [OpenTelemetry tracing API, "Span
//! creation"](https://opentelemetry.io/docs/specs/otel/trace/api/#span-creation).

use std::borrow::Cow;
use std::fmt;

use opentelemetry::trace::{Link, SpanKind};
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, Outcome, SpanStart, StartTime, catch_panic};

use crate::cancellation::Cancellation;
use crate::future::TaskFuture;
use crate::instrumentation::TaskInstrumentation;
use crate::operation::{TaskObserver, TaskOperation};
use crate::outcome::TaskOutput;

/// The description of a span: name, kind, attributes, its relation to the current span. A string is one with that name.
///
/// The name must have low cardinality, because the metrics of a task have it too.
#[derive(Clone)]
#[must_use = "a description starts no span"]
pub struct TaskSpan<A = fn() -> Vec<KeyValue>> {
    name: Cow<'static, str>,
    kind: SpanKind,
    attributes: A,
    new_trace: bool,
    cancellation: Option<Cancellation>,
    instrumentation: Option<TaskInstrumentation>,
}

impl TaskSpan {
    /// Describes a span of kind INTERNAL, a child of the span that is current where it is started.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            kind: SpanKind::Internal,
            attributes: Vec::new,
            new_trace: false,
            cancellation: None,
            instrumentation: None,
        }
    }
}

impl<A: FnOnce() -> Vec<KeyValue>> TaskSpan<A> {
    /// Sets the kind of the span. Default: INTERNAL.
    pub fn with_kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the attributes of the span. `attributes` is called at most once, at the start, and only if the span records or a
    /// sampler reads attributes.
    pub fn with_attributes<B: FnOnce() -> Vec<KeyValue>>(self, attributes: B) -> TaskSpan<B> {
        let Self { name, kind, attributes: _, new_trace, cancellation, instrumentation } = self;
        TaskSpan { name, kind, attributes, new_trace, cancellation, instrumentation }
    }

    /// Starts a trace of its own, whose first span links to the current one: for work whose end is not awaited. The
    /// baggage stays.
    pub fn with_new_trace(mut self) -> Self {
        self.new_trace = true;
        self
    }

    /// Records the reason of `cancellation` if the span ends as `cancelled`.
    pub fn with_cancellation(mut self, cancellation: &Cancellation) -> Self {
        self.cancellation = Some(cancellation.clone());
        self
    }

    /// Sets the place of the reason unless there is one.
    pub(crate) fn with_default_cancellation(mut self, cancellation: &Cancellation) -> Self {
        self.cancellation.get_or_insert_with(|| cancellation.clone());
        self
    }

    /// Records with `instrumentation` instead of the global one.
    pub fn with_instrumentation(mut self, instrumentation: &TaskInstrumentation) -> Self {
        self.instrumentation = Some(instrumentation.clone());
        self
    }

    /// Starts a task's span and metrics now, and returns a future that runs `task` inside of it: for any function or set
    /// that spawns futures, and for combinators such as `buffered`.
    ///
    /// The time until the first poll is the task's queue time. If the future is dropped before its end, the task is
    /// `cancelled`.
    pub fn wrap<F>(self, task: F) -> TaskFuture<F>
    where
        F: Future<Output: TaskOutput>,
    {
        self.wrap_with(task, F::Output::outcome)
    }

    /// Does the same as [`wrap`](Self::wrap), with the outcome that `outcome` derives from the output.
    pub fn wrap_with<F, C>(self, task: F, outcome: C) -> TaskFuture<F, C>
    where
        F: Future,
        C: FnOnce(&F::Output) -> Outcome,
    {
        TaskFuture::new(task, self.start(true), outcome)
    }

    /// Starts a task's span and metrics now, and returns a function that runs `task` inside of it: for any thread pool.
    pub fn wrap_blocking<F, T>(self, task: F) -> impl FnOnce() -> T + use<F, T, A>
    where
        F: FnOnce() -> T,
        T: TaskOutput,
    {
        // In this order, so that what the task holds is dropped before its span ends.
        let parts = (task, self.start(true));
        move || {
            let (task, operation) = parts;
            operation.run(task, T::outcome)
        }
    }

    /// Starts the span. `is_task` adds the metrics of a task.
    pub(crate) fn start(self, is_task: bool) -> TaskOperation {
        let Self { name, kind, attributes, new_trace, cancellation, instrumentation } = self;
        let instrumentation = instrumentation.as_ref().unwrap_or_else(|| TaskInstrumentation::global());
        let current = Context::current();
        let (parent, link) = match new_trace {
            true => (otel_propagation::without_span(&current), otel_propagation::link_to(&current, [])),
            false => (current, None),
        };
        if !instrumentation.options().is_recorded(&name) {
            return TaskOperation::inert(parent);
        }
        let tracer = instrumentation.tracer();
        if instrumentation.is_noop() {
            return TaskOperation::inert(parent);
        }
        let sampler_attributes = instrumentation.options().sampler_attributes;
        let series = is_task.then(|| instrumentation.task_series(&name));
        let describe =
            |started| describe(name, kind, started, link).with_sampler_attributes(sampler_attributes);
        if let Some(series) = series {
            let started = StartTime::now();
            let observer = TaskObserver::task(series, cancellation);
            let operation =
                Operation::start(tracer, || describe(started), &parent, started, observer, attributes);
            return TaskOperation::recorded(operation, started);
        }
        // A part of a function has no metrics: without a span that records, its clocks are not read and nothing ends.
        let mut started = None;
        let describe = || describe(*started.insert(StartTime::now()));
        let span = catch_panic(|| tracer.start(describe, &parent, attributes));
        match (span, started) {
            (Some(span), Some(started)) if span.is_recording() => {
                let observer = TaskObserver::part(cancellation);
                TaskOperation::recorded(Operation::from_span(span, started, observer), started)
            }
            (span, _) => TaskOperation::inert(span.map_or(parent, |span| span.context().clone())),
        }
    }
}

fn describe(name: Cow<'static, str>, kind: SpanKind, started: StartTime, link: Option<Link>) -> SpanStart {
    let start = SpanStart::new(name, kind, started.time);
    match link {
        Some(link) => start.with_link(link),
        None => start,
    }
}

impl From<&'static str> for TaskSpan {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl From<String> for TaskSpan {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl<A> fmt::Debug for TaskSpan<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSpan")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("new_trace", &self.new_trace)
            .finish_non_exhaustive()
    }
}
