//! The text form of a context in a journal.
//!
//! Follows [W3C Trace Context, "traceparent"](https://www.w3.org/TR/trace-context-2/#traceparent-header), version 00, and
//! [W3C Baggage](https://www.w3.org/TR/baggage/).

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use otel_propagation::CompositePropagator;

use crate::flow::Started;

/// The format of a journal, whatever the application's propagator is.
static W3C: LazyLock<CompositePropagator> = LazyLock::new(CompositePropagator::default);

/// The header of the span, which a journal has in a field of its own.
const TRACEPARENT: &str = "traceparent";

/// Formats the span as a `traceparent`. Returns `None` for an invalid span, because samplers treat an invalid parent
/// as not sampled.
pub(crate) fn traceparent(span: &SpanContext) -> Option<String> {
    span.is_valid().then(|| {
        let mut text = Vec::with_capacity(55);
        text.extend(b"00-");
        write(&mut text, &span.trace_id().to_bytes());
        text.push(b'-');
        write(&mut text, &span.span_id().to_bytes());
        text.push(b'-');
        write(&mut text, &[span.trace_flags().to_u8()]);
        String::from_utf8(text).unwrap_or_default()
    })
}

/// Parses a journaled `traceparent`.
pub(crate) fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (_, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Formats a span id in hexadecimal.
pub(crate) fn hexadecimal(id: SpanId) -> String {
    let mut text = Vec::with_capacity(16);
    write(&mut text, &id.to_bytes());
    String::from_utf8(text).unwrap_or_default()
}

/// Writes hexadecimal by hand, at about a quarter of the cost of formatting, because each intent contains an id.
fn write(text: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Returns what a context carries beside its span: `tracestate` and `baggage`, within the limits of their headers.
pub(crate) fn carried(cx: &Context) -> BTreeMap<String, String> {
    let mut headers = HashMap::new();
    W3C.inject_context(cx, &mut headers);
    headers.remove(TRACEPARENT);
    headers.into_iter().collect()
}

/// Returns the parent context of attempts: the start's span, if it was journaled, and what its context carried.
pub(crate) fn parent(started: &Started) -> Context {
    let mut headers: HashMap<_, _> = started.carried.clone().into_iter().collect();
    headers.extend(started.trace.clone().map(|trace| (TRACEPARENT.to_owned(), trace)));
    W3C.extract_with_context(&Context::new(), &headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let span = parse_traceparent(text).unwrap();
        assert_eq!(hexadecimal(span.span_id()), "b7ad6b7169203331");
        assert_eq!(hexadecimal(SpanId::INVALID), SpanId::INVALID.to_string());
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
