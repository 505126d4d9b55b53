//! Writing a span context beside a context that lacks it.

use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _};
use opentelemetry_sdk::propagation::{
    BaggagePropagator as SdkBaggage, TraceContextPropagator as SdkTraceContext,
};
use otel_propagation::{B3Propagator, CompositePropagator, PropagatorHandle};

use crate::composite::everything;
use crate::support::{PARENT, span_context};

#[test]
fn a_span_context_is_written_as_a_context_with_it() {
    let received = [("traceparent", PARENT), ("tracestate", "foo=1"), ("baggage", "a=1"), ("x-a", "1")];
    let ours = PropagatorHandle::new(everything());
    let foreign = PropagatorHandle::new(TextMapCompositePropagator::new(vec![
        Box::new(SdkTraceContext::new()),
        Box::new(SdkBaggage::new()),
    ]));
    let mixed = PropagatorHandle::new(
        CompositePropagator::empty().with_b3(B3Propagator::single()).with_other(SdkTraceContext::new()),
    );
    let cx = ours.extract(&received);
    let parent = span_context(&cx);
    let child = SpanContext::new(
        parent.trace_id(),
        SpanId::from(9),
        parent.trace_flags(),
        false,
        parent.trace_state().clone(),
    );
    for propagation in [&ours, &foreign, &mixed] {
        for span in [child.clone(), parent.clone(), SpanContext::NONE] {
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            propagation.inject_span_context(&span, &cx, &mut written);
            propagation.inject(&cx.with_remote_span_context(span.clone()), &mut expected);
            assert_eq!(written, expected, "{span:?}");
            let is_written = written.iter().any(|(_, value)| value.contains(&span.span_id().to_string()));
            assert_eq!(is_written, span.is_valid());
        }
    }
}
