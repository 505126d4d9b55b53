//! The start of spans: attributes, links, identity, and the operation's context.

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Sampler;
use otel_operation::{Operation, Outcome, SamplerAttributes, SpanStart, StartTime, Tracer};
use otel_propagation::{PropagatorHandle, TraceContextPropagator};
use otel_testing::Recorder;

use crate::support::{Job, counting, scope};

fn remote(flags: u8) -> Context {
    let (trace, span) = (TraceId::from(7), SpanId::from(8));
    let identity = SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::NONE);
    Context::new().with_remote_span_context(identity)
}

/// Starts an operation under `parent`. Returns `true` as well if its attributes were built.
fn start(recorder: &Recorder, parent: &Context, input: SamplerAttributes) -> (Operation<Job>, bool) {
    let tracer = Tracer::new(recorder.tracer_provider(), scope());
    let started = StartTime::now();
    let span = SpanStart::new("job", SpanKind::Server, started.time).with_sampler_attributes(input);
    let mut asked = false;
    let attributes = || {
        asked = true;
        vec![KeyValue::new("job.id", 1)]
    };
    let operation = Operation::start(&tracer, || span, parent, started, Job::default(), attributes);
    (operation, asked)
}

#[test]
fn attributes_are_built_only_where_somebody_looks() {
    let by_parent =
        || Recorder::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).build();
    let always = || Recorder::builder().with_sampler(Sampler::AlwaysOn).build();
    for (recorder, parent, input, asked, recorded) in [
        (by_parent(), Context::new(), SamplerAttributes::IfParentAllows, true, true),
        (by_parent(), remote(1), SamplerAttributes::IfParentAllows, true, true),
        (by_parent(), remote(0), SamplerAttributes::IfParentAllows, false, false),
        (by_parent(), remote(0), SamplerAttributes::Always, true, false),
        (always(), remote(0), SamplerAttributes::IfParentAllows, true, true),
    ] {
        let (operation, was_asked) = start(&recorder, &parent, input);
        assert_eq!(was_asked, asked);
        assert_eq!(operation.recording().is_some(), recorded);
        drop(operation);
        assert_eq!(recorder.spans().len(), usize::from(recorded));
        assert!(recorder.spans().iter().all(|span| span.attributes[0].key.as_str() == "job.id"));
        recorder.assert_clean();
    }
}

#[test]
fn a_span_that_does_not_record_keeps_its_identity_and_its_traces_random_flag() {
    let recorder = Recorder::builder().with_sampler(Sampler::AlwaysOff).build();
    let (operation, _) = start(&recorder, &remote(0x02), SamplerAttributes::IfParentAllows);
    let identity = operation.context().span().span_context().clone();
    assert!(operation.owns_span());
    let mut headers = vec![("tracestate".to_owned(), "stale=1".to_owned())];
    operation.inject(&PropagatorHandle::new(TraceContextPropagator::new()), &mut headers);
    let own = format!("00-{}-{}-02", identity.trace_id(), identity.span_id());
    assert_eq!(headers, [("traceparent".to_owned(), own)], "one set");
    assert_eq!(identity.trace_id(), TraceId::from(7));
    assert_ne!(identity.span_id(), SpanId::from(8), "it is a span of its own");
    assert_eq!(identity.trace_flags().to_u8(), 0x02);
    assert!(!identity.is_remote());
    let (operation, _) = start(&recorder, &Context::new(), SamplerAttributes::IfParentAllows);
    assert_eq!(operation.context().span().span_context().trace_flags().to_u8(), 0, "never guessed");
}

#[test]
fn an_outbound_span_writes_what_its_operation_would_have_written() {
    let propagator = PropagatorHandle::new(TraceContextPropagator::new());
    let stopped = Recorder::new();
    stopped.shutdown();
    let suppressed = remote(1).with_telemetry_suppressed();
    let off = || Recorder::builder().with_sampler(Sampler::AlwaysOff).build();
    for (recorder, parent, own, flags) in [
        (Recorder::new(), remote(1), true, "01"),
        (off(), remote(0x02), true, "02"),
        (stopped, remote(1), false, "01"),
        (Recorder::new(), suppressed, false, "01"),
    ] {
        let tracer = Tracer::new(recorder.tracer_provider(), scope());
        let started = StartTime::now();
        let start = || SpanStart::new("send", SpanKind::Producer, started.time);
        let span = Operation::<Job>::start_outbound(&tracer, start, &parent, Vec::new);
        let mut headers = vec![("tracestate".to_owned(), "set=1".to_owned())];
        span.inject(&propagator, &mut headers);
        let operation = Operation::from_outbound(span, started, Job::default());
        assert_eq!(operation.owns_span(), own);
        let recording = operation.recording().map(|span| span.span_context().span_id());
        if !own {
            assert_eq!(headers, [("tracestate".to_owned(), "set=1".to_owned())], "the caller's stays");
        } else {
            let [(name, value)] = &headers[..] else { panic!("{headers:?}") };
            let parts: Vec<&str> = value.split('-').collect();
            assert_eq!((&**name, parts[1], parts[3]), ("traceparent", &*format!("{:032x}", 7), flags));
            match recording {
                Some(id) => assert_eq!(parts[2], id.to_string()),
                None => assert_ne!(parts[2], format!("{:016x}", 8), "it is a span of its own"),
            }
        }
        // The operation of a span that does not record runs in the parent's context.
        if recording.is_none() {
            assert_eq!(operation.context().span().span_context().span_id(), SpanId::from(8));
        }
        drop(operation);
        recorder.assert_clean();
    }
}

#[test]
fn where_no_span_can_be_started_the_parents_context_is_handed_on() {
    let stopped = Recorder::new();
    stopped.shutdown();
    let suppressed = remote(1).with_telemetry_suppressed();
    for (recorder, parent) in [(stopped, remote(1)), (Recorder::new(), suppressed)] {
        let (operation, _) = start(&recorder, &parent, SamplerAttributes::IfParentAllows);
        assert_eq!(operation.context().span().span_context().span_id(), SpanId::from(8));
        assert!(operation.recording().is_none() && !operation.owns_span());
        let inject = |mut headers: Vec<(String, String)>| {
            operation.inject(&PropagatorHandle::new(TraceContextPropagator::new()), &mut headers);
            headers
        };
        let parent = format!("00-{:032x}-{:016x}-01", 7, 8);
        assert_eq!(inject(Vec::new()), [("traceparent".to_owned(), parent)]);
        let set = vec![("tracestate".to_owned(), "set=1".to_owned())];
        assert_eq!(inject(set.clone()), set, "the caller's");
        drop(operation);
        assert!(recorder.spans().is_empty());
    }
}

#[test]
fn links_are_kept_and_invalid_ones_left_out() {
    let recorder = Recorder::new();
    let tracer = Tracer::new(recorder.tracer_provider(), scope());
    let started = StartTime::now();
    let linked = remote(1).span().span_context().clone();
    let (kept, left_out) = (Link::with_context(linked.clone()), Link::with_context(SpanContext::NONE));
    let span = SpanStart::new("job", SpanKind::Consumer, started.time).with_link(kept).with_link(left_out);
    drop(Operation::start(&tracer, || span, &Context::new(), started, Job::default(), Vec::new));
    let links = recorder.span("job").links.links;
    assert_eq!(links.iter().map(|link| &link.span_context).collect::<Vec<_>>(), [&linked]);
}

#[test]
fn a_span_lasts_as_long_as_its_clock_says() {
    let recorder = Recorder::new();
    let (operation, _) = start(&recorder, &Context::new(), SamplerAttributes::IfParentAllows);
    let held = operation.context().clone();
    drop(operation);
    let span = recorder.span("job");
    assert!(span.end_time >= span.start_time);
    drop(held);
    assert_eq!(recorder.spans().len(), 1, "a context that lives on does not stretch the span");
}

#[test]
fn a_suppressed_scope_records_nothing_and_suppresses_the_operations_code_too() {
    let recorder = Recorder::new();
    let tracer = Tracer::new(recorder.tracer_provider(), scope());
    let run = |parent: &Context| {
        let (job, told) = counting();
        let started = StartTime::now();
        let span = SpanStart::new("job", SpanKind::Server, started.time);
        let mut operation = Operation::start(&tracer, || span, parent, started, job, Vec::new);
        assert!(operation.inside(|_| Context::is_current_telemetry_suppressed()));
        let inner =
            Operation::without_span(operation.context().clone(), started, operation.observer().clone());
        drop(inner);
        operation.finish(&Outcome::ok());
        assert_eq!(*told.lock().unwrap(), [""; 0]);
    };
    run(&Context::new().with_telemetry_suppressed());
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    // A context that was extracted from a message does not suppress anything itself.
    run(&remote(1));
    assert!(recorder.spans().is_empty());
}
