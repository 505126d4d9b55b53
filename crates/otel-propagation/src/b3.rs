//! The B3 formats of Zipkin: one header, or several.
//!
//! Follows openzipkin/b3-propagation and the OpenTelemetry specification, Context, Propagators API, "B3 Requirements".

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};

use crate::carrier::HeaderWriter;
use crate::carrier_fields::CarrierFields;
use crate::extracted::Extracted;
use crate::fields::{self, B3_FLAGS, B3_PARENT_SPAN_ID, B3_SAMPLED, B3_SINGLE, B3_SPAN_ID, B3_TRACE_ID};
use crate::hex;
use crate::inbound::{InboundTrace, SAMPLED};

/// Propagates the span context in Zipkin's B3 format.
///
/// Both forms are read, the single header first; one of them is written. Trace ids of 16 digits are padded with zeros
/// on the left. The debug flag is sent on for the trace that it was received with. A sampling state that is absent
/// ("defer") is read as not sampled, which is all that a span context can say. Digits must be lower case; whatever breaks
/// the format, or is there more than once, is no context. The limits are those of the format: an id is 16 or 32
/// characters, and nothing longer is looked at.
#[derive(Clone, Copy, Debug)]
pub struct B3Propagator {
    pub(crate) multi: bool,
}

impl B3Propagator {
    /// Writes the single header `b3`.
    #[must_use]
    pub fn single() -> Self {
        Self { multi: false }
    }

    /// Writes the headers `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled` and `x-b3-flags`.
    #[must_use]
    pub fn multi() -> Self {
        Self { multi: true }
    }

    pub(crate) fn read(self, gathered: &CarrierFields<'_, '_>, found: &mut Extracted) {
        let [single, multi @ ..] = gathered.b3();
        let Some((trace_id, span_id, sampling)) =
            single.and_then(parse_single).or_else(|| parse_multi(multi))
        else {
            return;
        };
        let flags = if sampling == Sampling::Deny { TraceFlags::NOT_SAMPLED } else { TraceFlags::SAMPLED };
        let span_context = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
        let b3_debug = sampling == Sampling::Debug;
        // B3 says nothing about randomness, so the flag of Trace Context is not set for this trace.
        found.put_span_context(span_context, InboundTrace { trace_id, flags: 0, tracestate: None, b3_debug });
    }

    pub(crate) fn write<C: HeaderWriter>(self, cx: &Context, carrier: &mut C) {
        // The other form has to go as well: a receiver prefers the single header, be it stale.
        for name in fields::B3 {
            carrier.remove(name);
        }
        carrier.remove(B3_PARENT_SPAN_ID);

        let span = cx.span();
        let span_context = span.span_context();
        if !span_context.is_valid() {
            return;
        }
        let debug = InboundTrace::of(cx, span_context.trace_id()).is_some_and(|trace| trace.b3_debug);
        let state = match (debug, span_context.trace_flags().to_u8() & SAMPLED) {
            (true, _) => b'd',
            (false, 0) => b'0',
            (false, _) => b'1',
        };
        let mut text = *b"00000000000000000000000000000000-0000000000000000-0";
        hex::encode(&span_context.trace_id().to_bytes(), &mut text[..32]);
        hex::encode(&span_context.span_id().to_bytes(), &mut text[33..49]);
        text[50] = state;
        // Nothing but ASCII was written, so this is always text.
        let Ok(text) = std::str::from_utf8(&text) else { return };
        if self.multi {
            carrier.set(B3_TRACE_ID, &text[..32]);
            carrier.set(B3_SPAN_ID, &text[33..49]);
            // Debug implies the decision to sample, which is then not sent on its own.
            if debug { carrier.set(B3_FLAGS, "1") } else { carrier.set(B3_SAMPLED, &text[50..]) }
        } else {
            carrier.set(B3_SINGLE, text);
        }
    }
}

impl Default for B3Propagator {
    /// The single header, the specification's default.
    fn default() -> Self {
        Self::single()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sampling {
    Deny,
    Accept,
    Debug,
}

/// Reads `{trace id}-{span id}[-{sampling}[-{parent span id}]]`.
fn parse_single(text: &[u8]) -> Option<(TraceId, SpanId, Sampling)> {
    let mut parts = text.split(|byte| *byte == b'-');
    let trace_id = parse_trace_id(parts.next()?)?;
    let span_id = parse_span_id(parts.next()?)?;
    let sampling = match parts.next() {
        None | Some(b"0") => Sampling::Deny,
        Some(b"1") => Sampling::Accept,
        Some(b"d") => Sampling::Debug,
        Some(_) => return None,
    };
    if let Some(parent) = parts.next() {
        hex::decode_u64(parent)?;
    }
    parts.next().is_none().then_some((trace_id, span_id, sampling))
}

/// Reads the values of the several headers, in the order of [`fields::B3`].
fn parse_multi(values: [Option<&[u8]>; 4]) -> Option<(TraceId, SpanId, Sampling)> {
    let [trace_id, span_id, sampled, flags] = values;
    let sampling = match (flags, sampled) {
        (Some(b"1"), _) => Sampling::Debug,
        (_, Some(b"1" | b"true")) => Sampling::Accept,
        _ => Sampling::Deny,
    };
    Some((parse_trace_id(trace_id?)?, parse_span_id(span_id?)?, sampling))
}

fn parse_trace_id(text: &[u8]) -> Option<TraceId> {
    let id = match text.len() {
        16 => TraceId::from(u128::from(hex::decode_u64(text)?)),
        _ => TraceId::from(hex::decode_u128(text)?),
    };
    (id != TraceId::INVALID).then_some(id)
}

fn parse_span_id(text: &[u8]) -> Option<SpanId> {
    let id = SpanId::from(hex::decode_u64(text)?);
    (id != SpanId::INVALID).then_some(id)
}
