//! How spans relate, by hand.

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use otel_propagation::{
    BaggagePropagator, Composite, PassThrough, Propagation, TraceContext, child_of, follows_from, linked_to,
    without_span,
};

use crate::support::{PARENT, span_context};

fn received() -> Context {
    Propagation::new(TraceContext::new()).extract(&[("traceparent", PARENT)])
}

#[test]
fn a_child_of_a_stored_span_has_it_as_its_remote_parent() {
    let parent = span_context(&received());
    assert_eq!(span_context(&child_of(parent.clone())), parent);
    assert!(!child_of(SpanContext::NONE).has_active_span());
}

#[test]
fn a_link_carries_its_attributes() {
    let link = linked_to(&received(), [KeyValue::new("why", "retry")]).unwrap();
    assert_eq!(
        (link.span_context, link.attributes),
        (span_context(&received()), vec![KeyValue::new("why", "retry")])
    );
}

#[test]
fn a_follows_from_link_says_so() {
    let link = follows_from(&received()).unwrap();
    assert_eq!(link.span_context, span_context(&received()));
    assert_eq!(link.attributes, [KeyValue::new("opentracing.ref_type", "follows_from")]);
}

#[test]
fn nothing_is_linked_where_there_is_no_span() {
    assert!(linked_to(&Context::new(), []).is_none());
    assert!(follows_from(&child_of(SpanContext::NONE)).is_none());
}

#[test]
fn what_travels_with_a_span_is_there_without_it() {
    for forward_only in [false, true] {
        let propagation = Propagation::new(
            Composite::empty()
                .with_trace_context(TraceContext::new())
                .with_baggage(BaggagePropagator::new().with_forward_only(forward_only))
                .with_pass_through(PassThrough::new(["x-tenant"]).unwrap()),
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
