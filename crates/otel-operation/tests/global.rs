//! Late lookup of the global providers. A test binary of its own, because globals are set once per process.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Meter};
use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};
use otel_operation::{LazyInstruments, Operation, OperationObserver, Outcome, SpanStart, StartTime, Tracer};
use otel_testing::Recorder;

struct Job;

impl OperationObserver for Job {
    fn record_metrics(&mut self, _: &Outcome, _: Duration) {}
}

#[test]
fn providers_are_looked_up_until_they_are_real() {
    let scope = || InstrumentationScope::builder("test").build();
    let tracer = Tracer::global(scope());
    let instruments: LazyInstruments<Counter<u64>> =
        LazyInstruments::global(scope(), |meter: &Meter| meter.u64_counter("jobs").build());
    let run = || {
        let started = StartTime::now();
        let span = SpanStart::new("job", SpanKind::Internal, started.time);
        let attributes = || vec![KeyValue::new("job.id", 1)];
        Operation::start(&tracer, span, &Context::new(), started, Job, attributes).finish(&Outcome::ok());
        if let Some(jobs) = instruments.get() {
            jobs.add(1, &[]);
        }
    };
    run();
    assert!(instruments.get().is_none(), "nothing is kept of a no-op");
    let recorder = Recorder::new();
    global::set_tracer_provider(recorder.tracer_provider().clone());
    global::set_meter_provider(recorder.meter_provider().clone());
    run();
    run();
    assert_eq!(recorder.spans().len(), 2);
    assert!(recorder.spans().iter().all(|span| span.attributes.len() == 1));
    assert_eq!(recorder.metric("jobs").sum(), 2.0);
    recorder.assert_clean();
}
