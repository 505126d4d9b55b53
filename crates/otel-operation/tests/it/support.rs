//! A test operation whose record logs the callbacks that it receives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{SpanKind, SpanRef};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use otel_operation::{FinishOnOutput, Operation, OperationObserver, Outcome, SpanStart, StartTime, Tracer};
use otel_testing::Recorder;

/// The callbacks that a record received, in order.
pub(crate) type Told = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Default)]
pub(crate) struct Job {
    pub(crate) told: Told,
    /// The result of `in_flight`.
    pub(crate) counts: bool,
    /// Makes each callback panic.
    pub(crate) panics: bool,
}

impl Job {
    pub(crate) fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
        if self.panics {
            panic!("in a callback");
        }
    }
}

impl OperationObserver for Job {
    fn add_in_flight(&self, delta: i64) -> bool {
        self.tell(format!("in flight {delta}"));
        self.counts
    }

    fn before_end(&mut self, _: &Outcome) {
        if self.panics {
            self.tell("before end");
        }
    }

    fn finish_span(&mut self, span: &SpanRef<'_>, _: &Outcome) {
        span.set_attribute(KeyValue::new("job.last", "word"));
        self.tell("span");
    }

    fn record_metrics(&mut self, outcome: &Outcome, _: Duration) {
        self.tell(format!("measure {}", outcome.error_type().map_or("ok", |error| error)));
    }
}

impl<T> FinishOnOutput<T> for Job {
    type Output = T;

    fn complete(operation: Option<Operation<Self>>, output: T) -> T {
        if let Some(operation) = operation {
            operation.finish(&Outcome::ok());
        }
        output
    }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("test").build()
}

/// Starts an operation that `job` records.
pub(crate) fn start(recorder: &Recorder, job: Job) -> Operation<Job> {
    let tracer = Tracer::new(recorder.tracer_provider(), scope());
    let started = StartTime::now();
    let span = SpanStart::new("job", SpanKind::Internal, started.time);
    Operation::start(&tracer, || span, &Context::new(), started, job, Vec::new)
}

/// Returns a job that counts operations in flight, and its log of callbacks.
pub(crate) fn counting() -> (Job, Told) {
    let job = Job { counts: true, ..Job::default() };
    let told = Arc::clone(&job.told);
    (job, told)
}
