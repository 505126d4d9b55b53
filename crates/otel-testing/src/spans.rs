//! Spans of other processes as parents, and the attributes of finished spans.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::trace::SpanData;

/// Returns a context with the span of another process. Trace and span have the same number.
#[must_use]
pub fn remote(id: u64, sampled: bool) -> Context {
    let flags = TraceFlags::default().with_sampled(sampled);
    let span =
        SpanContext::new(TraceId::from(u128::from(id)), SpanId::from(id), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span)
}

/// Returns the header of the sampled span that [`remote`] returns.
#[must_use]
pub fn traceparent(id: u64) -> String {
    format!("00-{:032x}-{id:016x}-01", u128::from(id))
}

/// Returns the header that names a finished span.
#[must_use]
pub fn traceparent_of(span: &SpanData) -> String {
    let context = &span.span_context;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

/// Returns an attribute of a span.
#[must_use]
pub fn value<'s>(span: &'s SpanData, key: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| &kv.value)
}

/// Returns an attribute of a span as text.
#[must_use]
pub fn attribute(span: &SpanData, key: &str) -> Option<String> {
    value(span, key).map(ToString::to_string)
}

/// Returns the class of a span's failure.
#[must_use]
pub fn error_type(span: &SpanData) -> Option<String> {
    attribute(span, "error.type")
}
