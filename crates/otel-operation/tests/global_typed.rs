//! The global provider set by `set_tracer_provider`. A test binary of its own, because it sets the process's global.

use std::time::Duration;

use opentelemetry::trace::{SpanKind, Tracer as _};
use opentelemetry::{Context, InstrumentationScope, global};
use otel_operation::{
    Operation, OperationObserver, Outcome, SpanStart, StartTime, Tracer, set_tracer_provider,
};
use otel_testing::Recorder;

struct Job;

impl OperationObserver for Job {
    fn record_metrics(&mut self, _: &Outcome, _: Duration) {}
}

fn run(tracer: &Tracer) {
    let started = StartTime::now();
    let span = SpanStart::new("job", SpanKind::Internal, started.time);
    Operation::start(tracer, || span, &Context::new(), started, Job, Vec::new).finish(&Outcome::ok());
}

#[test]
fn it_is_the_global_one_for_operations_and_for_the_api() {
    let tracer = || Tracer::global(InstrumentationScope::builder("test").build());
    let early = tracer();
    run(&early);

    let (first, second) = (Recorder::new(), Recorder::new());
    set_tracer_provider(first.tracer_provider().clone());
    run(&early);
    run(&tracer());
    assert_eq!(first.spans().len(), 2);
    assert!(first.spans().iter().all(|span| span.instrumentation_scope.name() == "test"));
    global::tracer("by hand").start("by hand");
    assert_eq!(first.spans().len(), 3);

    // A replacement is used only by tracers that have not started a span yet.
    set_tracer_provider(second.tracer_provider().clone());
    run(&early);
    run(&tracer());
    global::tracer("by hand").start("by hand");
    assert_eq!((first.spans().len(), second.spans().len()), (4, 2));
}
