//! A span's identity as text, as it is kept in a journal.
//!
//! Follows W3C Trace Context, "traceparent", version 00.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use otel_propagation::child_of;

/// The span as a `traceparent`; none if it is not valid: an invalid parent would be one that is not sampled.
pub(crate) fn traceparent(span: &SpanContext) -> Option<String> {
    span.is_valid()
        .then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// The span that a `traceparent` of ours names.
pub(crate) fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (_, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// The context that attempts begin in: the start's span is the parent, where it was kept.
pub(crate) fn parent(trace: Option<&str>) -> Context {
    trace.and_then(parse_traceparent).map_or_else(Context::new, child_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let span = parse_traceparent(text).unwrap();
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(traceparent(&span).as_deref(), Some(text));
    }

    #[test]
    fn what_is_none_is_none() {
        assert_eq!(traceparent(&SpanContext::empty_context()), None);
        for text in ["", "00", "00-x-y-z", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert!(parse_traceparent(text).is_none(), "{text}");
        }
    }
}
