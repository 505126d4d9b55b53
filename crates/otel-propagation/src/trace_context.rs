//! The W3C Trace Context format: `traceparent`, and `tracestate` as far as it travels with it.
//!
//! Follows W3C Trace Context level 2, "Traceparent Header"
//! (<https://www.w3.org/TR/trace-context-2/#traceparent-header>).

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::carrier::HeaderWriter;
use crate::carrier_fields::{CarrierFields, Field};
use crate::extracted::Extracted;
use crate::fields::{TRACEPARENT, TRACESTATE, trim};
use crate::inbound::{B3Sampling, InboundTrace, RANDOM, SAMPLED, outgoing_flags, random_trace_ids_declared};
use crate::{hex, trace_state};

/// The length of a version 00 `traceparent`, and of the part of a later version that we may read.
const LENGTH: usize = 55;

/// Propagates the span context as W3C Trace Context level 2, strictly as its text says.
///
/// * A `traceparent` that breaks any rule, or that is repeated, is no context: version `ff`, a version 00
///   that is not exactly 55 characters, a later version whose 55 characters are followed by anything but the end or
///   `-`, upper-case digits, ids of zeros.
/// * A `tracestate` that breaks any rule, that has more than 32 members, or more than 8192 bytes, is dropped as a whole;
///   the `traceparent` is kept. Of members with the same key the first one is kept. Several `tracestate` headers are
///   joined in their order.
/// * The received `tracestate` goes out again unchanged, except when a sampler changed it. It cannot always be held by
///   [`TraceState`], which samplers and exporters see: members that it cannot hold are left out there, and survive a
///   sampler's change.
/// * The flags `sampled` and `random` are sent, no others. The `random` flag is kept for the trace that it was received
///   with; for traces that begin here see [`declare_random_trace_ids`](crate::declare_random_trace_ids).
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceContextPropagator {
    _private: (),
}

impl TraceContextPropagator {
    /// Makes the propagator; it has no options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn read(self, fields: &CarrierFields<'_, '_>, extracted: &mut Extracted) {
        let Some((trace_id, span_id, flags)) = fields.only(Field::Traceparent).and_then(parse) else {
            return;
        };
        let (state, tracestate) = trace_state::receive(fields).unwrap_or((TraceState::NONE, None));
        let span_context = SpanContext::new(trace_id, span_id, TraceFlags::new(flags), true, state);
        let b3_sampling = B3Sampling::Decided;
        extracted.put_span_context(
            span_context,
            InboundTrace { trace_id, span_id, flags, tracestate, b3_sampling },
        );
    }

    pub(crate) fn write<C: HeaderWriter>(self, span_context: &SpanContext, cx: &Context, carrier: &mut C) {
        if !span_context.is_valid() {
            return;
        }
        let inbound = InboundTrace::for_trace(cx, span_context.trace_id());
        trace_state::send(span_context.trace_state(), inbound, |text| match text {
            Some(text) => carrier.set(TRACESTATE, text),
            None => carrier.remove(TRACESTATE),
        });
        let text = format(span_context, outgoing_flags(span_context, inbound));
        carrier.set_bytes(TRACEPARENT, &text);
    }
}

/// Reads a `traceparent` from which surrounding white space was removed.
#[inline]
fn parse(text: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (head, rest) = text.split_first_chunk::<LENGTH>()?;
    if head[0] == b'0' && head[1] == b'0' {
        if !rest.is_empty() {
            return None;
        }
    } else if hex::decode_u8(&head[..2])? == 0xff || !(rest.is_empty() || rest[0] == b'-') {
        return None;
    }
    if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
        return None;
    }
    let (trace_id, span_id) = hex::decode_ids(head[3..].first_chunk()?, head[36..].first_chunk()?)?;
    let flags = hex::decode_u8(&head[53..])?;
    let is_valid = trace_id != 0 && span_id != 0;
    is_valid.then(|| (TraceId::from(trace_id), SpanId::from(span_id), flags & (SAMPLED | RANDOM)))
}

/// Reads the one `traceparent` of a carrier that holds nothing else of ours, as most do: an invalid span context if it is
/// malformed, `None` if the context needs more than a span context.
#[inline]
pub(crate) fn read_lone(value: &[u8]) -> Option<SpanContext> {
    let Some((trace_id, span_id, flags)) = parse(trim(value)) else { return Some(SpanContext::NONE) };
    if flags & RANDOM != 0 || random_trace_ids_declared() {
        return None;
    }
    Some(SpanContext::new(trace_id, span_id, TraceFlags::new(flags), true, TraceState::NONE))
}

#[inline]
fn format(span_context: &SpanContext, flags: u8) -> [u8; LENGTH] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex::encode(&span_context.trace_id().to_bytes(), &mut text[3..35]);
    hex::encode(&span_context.span_id().to_bytes(), &mut text[36..52]);
    hex::encode(&[flags], &mut text[53..LENGTH]);
    text
}
