//! The declarations about the SDK and the propagator. A test binary of its own, because they are the process's.

use std::cell::Cell;
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::trace::Sampler;
use otel_operation::{
    Operation, OperationObserver, Outcome, SpanStart, StartTime, Tracer, declare_final_propagator,
    declare_parent_based_sampler, has_parent_based_sampler, reset_declarations, set_tracer_provider,
    with_span_identity,
};
use otel_propagation::{CompositePropagator, PropagatorHandle, is_global_final};
use otel_testing::Recorder;

struct Job;

impl OperationObserver for Job {
    fn record_metrics(&mut self, _: &Outcome, _: Duration) {}
}

fn remote(flags: u8) -> Context {
    let state = TraceState::from_key_value([("a", "1")]).unwrap_or_default();
    let (trace, span) = (TraceId::from(7), SpanId::from(8));
    Context::new().with_remote_span_context(SpanContext::new(
        trace,
        span,
        TraceFlags::new(flags),
        true,
        state,
    ))
}

/// Starts a span. Returns its context, and true if its description was asked for.
fn start(tracer: &Tracer, parent: &Context) -> (SpanContext, bool) {
    let (started, is_asked) = (StartTime::now(), Cell::new(false));
    let span = || {
        is_asked.set(true);
        SpanStart::new("job", SpanKind::Internal, started.time)
    };
    let operation = Operation::start(tracer, span, parent, started, Job, Vec::new);
    assert!(operation.owns_span());
    let identity = operation.context().span().span_context().clone();
    operation.finish(&Outcome::ok());
    (identity, is_asked.get())
}

// One test, because the declarations are the process's.
#[test]
fn what_is_declared_is_not_asked_for() {
    let recorder =
        Recorder::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).build();
    set_tracer_provider(recorder.tracer_provider().clone());
    let scope = || InstrumentationScope::builder("test").build();
    let global = Tracer::global(scope());
    let declared = || (has_parent_based_sampler(), is_global_final());
    assert_eq!(declared(), (false, false));
    assert!(start(&global, &remote(0x02)).1);

    declare_parent_based_sampler();
    assert_eq!(declared(), (true, false));
    let (dropped, is_asked) = start(&global, &remote(0x02));
    assert!(!is_asked);
    assert_eq!(
        (dropped.trace_id(), dropped.trace_flags().to_u8()),
        (TraceId::from(7), 0x02),
        "random is kept"
    );
    assert_eq!((dropped.trace_state().header(), dropped.is_remote()), ("a=1".to_owned(), false));
    assert!(dropped.is_valid() && dropped.span_id() != SpanId::from(8), "it is a span of its own");
    assert_ne!(dropped.span_id(), start(&global, &remote(0)).0.span_id());
    let requested = with_span_identity(TraceId::from(7), SpanId::from(9), || start(&global, &remote(0)));
    assert_eq!((requested.0.span_id(), requested.1), (SpanId::from(9), false));
    assert!(recorder.spans().is_empty());
    for parent in [remote(0x01), Context::new()] {
        assert!(start(&global, &parent).1);
    }
    assert_eq!(recorder.spans().len(), 2);
    // A provider that a layer is given has a sampler of its own.
    assert!(start(&Tracer::new(recorder.tracer_provider(), scope()), &remote(0)).1);

    otel_propagation::set_global(CompositePropagator::default());
    declare_final_propagator();
    assert_eq!(declared(), (true, true));
    // OpenTelemetry's own global is no longer looked up.
    opentelemetry::global::set_text_map_propagator(opentelemetry_sdk::propagation::BaggagePropagator::new());
    let inject = || {
        let mut headers = Vec::new();
        PropagatorHandle::global().inject(&remote(1), &mut headers);
        headers.len()
    };
    assert_eq!((inject(), PropagatorHandle::global().is_noop()), (2, false));

    reset_declarations();
    assert_eq!(declared(), (false, false));
    assert_eq!(inject(), 0);
    assert!(start(&global, &remote(0)).1);
    recorder.assert_clean();
}
