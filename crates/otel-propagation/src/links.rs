//! Relations between spans, by hand: child of, linked to, follows from.
//!
//! Follows the OpenTelemetry specification, "Link" (<https://opentelemetry.io/docs/specs/otel/trace/api/#link>), and its OpenTracing compatibility
//! (<https://opentelemetry.io/docs/specs/otel/compatibility/opentracing/>), which defines how a follows-from relation is recorded.

use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::trace::{Link, SpanContext, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use crate::inbound::InboundState;

/// OpenTracing compatibility, `opentracing.ref_type` (semantic conventions 1.44): the kind of a reference.
const REF_TYPE: &str = "opentracing.ref_type";

/// A context to start a child of a span in, of which nothing is known but its ids: one that was stored, or came in a
/// message's body.
#[must_use]
pub fn context_with_remote_parent(parent: SpanContext) -> Context {
    if parent.is_valid() { Context::new().with_remote_span_context(parent) } else { Context::new() }
}

/// A context to begin a trace of its own in: what travels with `cx` (baggage, headers that are passed through) without the
/// span, which [`link_to`] makes a link of.
///
/// Putting an invalid span context in place of the span will not do: to a sampler that asks its parent that is a parent
/// which is not sampled.
#[must_use]
pub fn without_span(cx: &Context) -> Context {
    let mut root = Context::new();
    let baggage = cx.baggage();
    if !baggage.is_empty() {
        let baggage: Baggage = baggage.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        root = root.with_baggage(baggage);
    }
    match cx.get::<InboundState>() {
        Some(state) if state.baggage.is_some() || state.pass_through.is_some() => {
            root.with_value(InboundState { trace: None, ..state.clone() })
        }
        _ => root,
    }
}

/// A link to the context's span that says why; none if the context has no valid span.
#[must_use]
pub fn link_to(cx: &Context, attributes: impl IntoIterator<Item = KeyValue>) -> Option<Link> {
    let span = cx.span();
    let span_context = span.span_context();
    span_context.is_valid().then(|| Link::new(span_context.clone(), attributes.into_iter().collect(), 0))
}

/// A link which says that the new span follows from the context's span, whose outcome does not depend on it
/// (`opentracing.ref_type` = `follows_from_link`); none if the context has no valid span.
#[must_use]
pub fn follows_from_link(cx: &Context) -> Option<Link> {
    link_to(cx, [KeyValue::new(REF_TYPE, "follows_from")])
}
