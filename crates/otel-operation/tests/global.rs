//! Late lookup of the global providers. A test binary of its own, because globals are set once per process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Meter};
use opentelemetry::trace::{Link, SpanKind, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use otel_operation::{LazyInstruments, Operation, OperationObserver, Outcome, SpanStart, StartTime, Tracer};
use otel_testing::Recorder;

struct Job;

impl OperationObserver for Job {
    fn record_metrics(&mut self, _: &Outcome, _: Duration) {}
}

/// Logs the number of attributes that it sees, and samples everything.
#[derive(Clone, Debug, Default)]
struct Spy(Arc<Mutex<Vec<usize>>>);

impl ShouldSample for Spy {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        attributes: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        self.0.lock().unwrap().push(attributes.len());
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: TraceState::NONE,
        }
    }
}

#[test]
fn providers_are_looked_up_until_they_are_real() {
    let scope = || InstrumentationScope::builder("test").build();
    let tracer = Tracer::global(scope());
    let instruments: LazyInstruments<Counter<u64>> =
        LazyInstruments::global(scope(), |meter: &Meter| meter.u64_counter("jobs").build());
    let built = AtomicUsize::new(0);
    let run = || {
        let started = StartTime::now();
        let span = SpanStart::new("job", SpanKind::Internal, started.time);
        let attributes = || {
            built.fetch_add(1, Ordering::Relaxed);
            vec![KeyValue::new("job.id", 1)]
        };
        Operation::start(&tracer, || span, &Context::new(), started, Job, attributes).finish(&Outcome::ok());
        if let Some(jobs) = instruments.get() {
            jobs.add(1, &[]);
        }
    };
    run();
    assert!(instruments.get().is_none(), "nothing is kept of a no-op");
    let others = [(); 2].map(|()| Tracer::global(scope()));
    assert!(tracer.is_noop() && others.iter().all(Tracer::is_noop));
    assert_eq!(built.load(Ordering::Relaxed), 0, "a no-op discards attributes");
    let spy = Spy::default();
    let recorder = Recorder::builder().with_sampler(spy.clone()).build();
    global::set_tracer_provider(recorder.tracer_provider().clone());
    global::set_meter_provider(recorder.meter_provider().clone());
    assert!(others[0].is_noop(), "the no-op is assumed for some operations");
    assert!((0..32).any(|_| !others[0].is_noop()));
    run();
    run();
    assert!(!tracer.is_noop(), "a tracer that was looked up is kept");
    assert_eq!(recorder.spans().len(), 2);
    assert_eq!(
        *spy.0.lock().unwrap(),
        [1, 1],
        "the first span's sampler sees as much as the second's, and no other span"
    );
    assert!(recorder.spans().iter().all(|span| span.attributes.len() == 1));
    assert_eq!(recorder.metric("jobs").sum(), 2.0);
    recorder.assert_clean();
    assert!(others[1].is_noop());
    otel_operation::set_tracer_provider(recorder.tracer_provider().clone());
    assert!(!others[1].is_noop(), "a provider that this crate has set is seen at once");
}
