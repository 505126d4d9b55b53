//! The operation of a task or of a part of a function, recorded or inert, and what it records at its end.
//!
//! Follows `docs/conventions.md`.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanRef;
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, OperationObserver, Outcome, StartTime, catch_panic};

use crate::attributes::{CANCELLATION_REASON, CHANNEL_QUEUE_TIME, TASK_QUEUE_TIME};
use crate::cancellation::Cancellation;
use crate::metrics::{ChannelSeries, TaskSeries};

/// A running operation. Dropped without an end, it is `cancelled`.
#[derive(Debug)]
pub(crate) struct TaskOperation(State);

#[derive(Debug)]
enum State {
    Recorded(Operation<TaskObserver>, StartTime),
    /// Left out by the filter, or a part of a function whose span does not record.
    Inert(Context),
}

impl TaskOperation {
    pub(crate) fn recorded(operation: Operation<TaskObserver>, started: StartTime) -> Self {
        Self(State::Recorded(operation, started))
    }

    pub(crate) fn inert(context: Context) -> Self {
        Self(State::Inert(context))
    }

    /// Records the queue time of a task, at the first call.
    pub(crate) fn leave_queue(&mut self) {
        if let State::Recorded(operation, started) = &mut self.0 {
            let is_suppressed = operation.context().is_telemetry_suppressed();
            operation.observer_mut().leave_queue(*started, is_suppressed);
        }
    }

    /// Runs code with the context current. A panic in it ends the operation as `panic`.
    #[inline]
    pub(crate) fn inside<T>(&mut self, code: impl FnOnce() -> T) -> T {
        match &mut self.0 {
            State::Recorded(operation, _) => operation.inside(|_| code()),
            State::Inert(context) => {
                let _attached = context.clone().attach();
                code()
            }
        }
    }

    pub(crate) fn end(&mut self, outcome: &Outcome) {
        if let State::Recorded(operation, _) = &mut self.0 {
            operation.end(outcome);
        }
    }

    /// Runs code inside the operation and ends it with the outcome of the output.
    pub(crate) fn run<T>(self, code: impl FnOnce() -> T, outcome: impl FnOnce(&T) -> Outcome) -> T {
        let mut operation = match self.0 {
            State::Inert(context) => {
                let _attached = context.attach();
                return code();
            }
            recorded => Self(recorded),
        };
        operation.leave_queue();
        let (output, outcome) = operation.inside(|| {
            let output = code();
            let outcome = derive_outcome(&output, outcome);
            (output, outcome)
        });
        operation.end(&outcome);
        output
    }
}

/// Derives the outcome in the operation's context. A user's function that panics costs the class alone.
pub(crate) fn derive_outcome<T>(output: &T, outcome: impl FnOnce(&T) -> Outcome) -> Outcome {
    catch_panic(|| outcome(output)).unwrap_or_else(|| Outcome::error("_OTHER"))
}

/// The state that an operation keeps until its end.
#[derive(Debug)]
pub(crate) struct TaskObserver {
    subject: Subject,
    /// In seconds.
    queue_time: Option<f64>,
    cancellation: Option<Cancellation>,
}

/// The work of an operation, which decides its metrics.
#[derive(Debug)]
enum Subject {
    /// A part of a function has none.
    Part,
    Task(Arc<TaskSeries>),
    Item(Arc<ChannelSeries>),
}

impl TaskObserver {
    pub(crate) fn part(cancellation: Option<Cancellation>) -> Self {
        Self { subject: Subject::Part, queue_time: None, cancellation }
    }

    pub(crate) fn task(series: Arc<TaskSeries>, cancellation: Option<Cancellation>) -> Self {
        Self { subject: Subject::Task(series), queue_time: None, cancellation }
    }

    /// The processing of an item that was in its channel for `queue_time` seconds; a batch has none.
    pub(crate) fn item(series: Arc<ChannelSeries>, queue_time: Option<f64>) -> Self {
        Self { subject: Subject::Item(series), queue_time, cancellation: None }
    }

    /// Records the queue time of a task, at the first call. `is_suppressed` says that its telemetry is.
    fn leave_queue(&mut self, started: StartTime, is_suppressed: bool) {
        if let (Subject::Task(series), None, false) = (&self.subject, self.queue_time, is_suppressed) {
            let queued = started.elapsed().as_secs_f64();
            self.queue_time = Some(queued);
            let _ = catch_panic(|| series.record_queue_time(queued));
        }
    }
}

impl OperationObserver for TaskObserver {
    fn add_in_flight(&self, delta: i64) -> bool {
        match &self.subject {
            Subject::Task(series) => series.add_active(delta),
            Subject::Part | Subject::Item(_) => false,
        }
    }

    fn finish_span(&mut self, span: &SpanRef<'_>, outcome: &Outcome) {
        if let Some(queued) = self.queue_time {
            let key = match self.subject {
                Subject::Item(_) => CHANNEL_QUEUE_TIME,
                Subject::Part | Subject::Task(_) => TASK_QUEUE_TIME,
            };
            span.set_attribute(KeyValue::new(key, queued));
        }
        if let Some(reason) = self.cancellation.as_ref().and_then(Cancellation::reason)
            && outcome.error_type() == Outcome::cancelled().error_type()
        {
            span.set_attribute(KeyValue::new(CANCELLATION_REASON, reason.as_str()));
        }
    }

    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        match &self.subject {
            Subject::Part => {}
            Subject::Task(series) => series.record_duration(outcome, elapsed),
            Subject::Item(series) => series.record_process_duration(outcome, elapsed),
        }
    }
}
