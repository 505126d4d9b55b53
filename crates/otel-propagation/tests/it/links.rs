//! Relations between spans, by hand.

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use otel_propagation::{
    BaggagePropagator, CompositePropagator, PassThroughPropagator, PropagatorHandle, TraceContextPropagator,
    context_with_remote_parent, follows_from_link, link_to, without_span,
};

use crate::support::{PARENT, span_context};

fn received() -> Context {
    PropagatorHandle::new(TraceContextPropagator::new()).extract(&[("traceparent", PARENT)])
}

#[test]
fn a_child_of_a_stored_span_has_it_as_its_remote_parent() {
    let parent = span_context(&received());
    assert_eq!(span_context(&context_with_remote_parent(parent.clone())), parent);
    assert!(!context_with_remote_parent(SpanContext::NONE).has_active_span());
}

#[test]
fn a_link_carries_its_attributes() {
    let link = link_to(&received(), [KeyValue::new("why", "retry")]).unwrap();
    assert_eq!(
        (link.span_context, link.attributes),
        (span_context(&received()), vec![KeyValue::new("why", "retry")])
    );
}

#[test]
fn a_follows_from_link_says_so() {
    let link = follows_from_link(&received()).unwrap();
    assert_eq!(link.span_context, span_context(&received()));
    assert_eq!(link.attributes, [KeyValue::new("opentracing.ref_type", "follows_from")]);
}

#[test]
fn nothing_is_linked_where_there_is_no_span() {
    assert!(link_to(&Context::new(), []).is_none());
    assert!(follows_from_link(&context_with_remote_parent(SpanContext::NONE)).is_none());
}

#[test]
fn what_travels_with_a_span_is_there_without_it() {
    for forward_only in [false, true] {
        let propagation = PropagatorHandle::new(
            CompositePropagator::empty()
                .with_trace_context(TraceContextPropagator::new())
                .with_baggage(BaggagePropagator::new().with_forward_only(forward_only))
                .with_pass_through(PassThroughPropagator::new(["x-tenant"]).unwrap()),
        );
        let headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "k=v"), ("x-tenant", "7")];
        let root = without_span(&propagation.extract(&headers));
        // A sampler that asks its parent asks this first.
        assert!(!root.has_active_span());
        let mut out = Vec::<(String, String)>::new();
        propagation.inject(&root, &mut out);
        out.sort();
        assert_eq!(out, [("baggage".into(), "k=v".into()), ("x-tenant".into(), "7".into())]);
    }
}
