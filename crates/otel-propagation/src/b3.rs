//! The B3 formats of Zipkin: one header, or several.
//!
//! Follows <https://github.com/openzipkin/b3-propagation> and the OpenTelemetry specification, "B3 Requirements"
//! (<https://opentelemetry.io/docs/specs/otel/context/api-propagators/#b3-requirements>).

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::carrier::HeaderWriter;
use crate::carrier_fields::CarrierFields;
use crate::extracted::Extracted;
use crate::fields::{self, B3_FLAGS, B3_PARENT_SPAN_ID, B3_SAMPLED, B3_SINGLE, B3_SPAN_ID, B3_TRACE_ID};
use crate::hex;
use crate::inbound::{B3Sampling, InboundTrace, SAMPLED};

/// Propagates the span context in Zipkin's B3 format.
///
/// * Both forms are read, the single header first; one of them is written, with names in the spelling of the
///   specification. Trace ids of 16 digits are padded with zeros on the left.
/// * The debug flag is sent on for the trace that it was received with. A sampling state that is absent ("defer") is
///   sent on as absent with the received span; a span context says "not sampled" for it, and a span that starts here
///   decides.
/// * Digits must be lower case; a header that breaks the format, or is repeated, is no context. An id has 16 or 32
///   characters.
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

    /// Writes the headers `X-B3-TraceId`, `X-B3-SpanId`, `X-B3-Sampled` and `X-B3-Flags`.
    #[must_use]
    pub fn multi() -> Self {
        Self { multi: true }
    }

    pub(crate) fn read(self, fields: &CarrierFields<'_, '_>, extracted: &mut Extracted) {
        let [single, multi @ ..] = fields.b3();
        let Some((trace_id, span_id, sampling)) =
            single.and_then(parse_single).or_else(|| parse_multi(multi))
        else {
            return;
        };
        let (flags, b3_sampling) = match sampling {
            Sampling::Deny => (TraceFlags::NOT_SAMPLED, B3Sampling::Decided),
            Sampling::Accept => (TraceFlags::SAMPLED, B3Sampling::Decided),
            Sampling::Debug => (TraceFlags::SAMPLED, B3Sampling::Debug),
            Sampling::Defer => (TraceFlags::NOT_SAMPLED, B3Sampling::Deferred),
        };
        let span_context = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
        // B3 says nothing about randomness, so the flag of Trace Context is not set for this trace.
        let trace = InboundTrace { trace_id, span_id, flags: 0, tracestate: None, b3_sampling };
        extracted.put_span_context(span_context, trace);
    }

    /// Writes one form. The headers of both forms were removed before ([`clear`]).
    pub(crate) fn write<C: HeaderWriter>(self, span_context: &SpanContext, cx: &Context, carrier: &mut C) {
        let inbound = InboundTrace::for_trace(cx, span_context.trace_id());
        let sampling = match inbound {
            Some(trace) if trace.b3_sampling == B3Sampling::Debug => Sampling::Debug,
            // A span that was started here has made the decision.
            Some(trace)
                if trace.b3_sampling == B3Sampling::Deferred && trace.span_id == span_context.span_id() =>
            {
                Sampling::Defer
            }
            _ if span_context.trace_flags().to_u8() & SAMPLED != 0 => Sampling::Accept,
            _ => Sampling::Deny,
        };
        let mut text = *b"00000000000000000000000000000000-0000000000000000-0";
        hex::encode(&span_context.trace_id().to_bytes(), &mut text[..32]);
        hex::encode(&span_context.span_id().to_bytes(), &mut text[33..49]);
        text[50] = match sampling {
            Sampling::Deny | Sampling::Defer => b'0',
            Sampling::Accept => b'1',
            Sampling::Debug => b'd',
        };
        // Nothing but ASCII was written, so this is always text.
        let Ok(text) = std::str::from_utf8(&text) else { return };
        if !self.multi {
            return carrier.set(B3_SINGLE, if sampling == Sampling::Defer { &text[..49] } else { text });
        }
        carrier.set(B3_TRACE_ID, &text[..32]);
        carrier.set(B3_SPAN_ID, &text[33..49]);
        match sampling {
            Sampling::Defer => {}
            // Debug implies the decision to sample, which is then not sent on its own.
            Sampling::Debug => carrier.set(B3_FLAGS, "1"),
            Sampling::Deny | Sampling::Accept => carrier.set(B3_SAMPLED, &text[50..]),
        }
    }
}

/// Removes the headers of both forms: a receiver prefers the single header, be it stale.
pub(crate) fn clear<C: HeaderWriter>(carrier: &mut C) {
    for name in fields::B3 {
        carrier.remove(name);
    }
    carrier.remove(B3_PARENT_SPAN_ID);
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
    Defer,
}

/// Reads `{trace id}-{span id}[-{sampling}[-{parent span id}]]`.
fn parse_single(text: &[u8]) -> Option<(TraceId, SpanId, Sampling)> {
    let mut parts = text.split(|byte| *byte == b'-');
    let trace_id = parse_trace_id(parts.next()?)?;
    let span_id = parse_span_id(parts.next()?)?;
    let sampling = match parts.next() {
        None => Sampling::Defer,
        Some(b"0") => Sampling::Deny,
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
        (_, Some(text)) if text == b"1" || text.eq_ignore_ascii_case(b"true") => Sampling::Accept,
        (_, Some(_)) => Sampling::Deny,
        (_, None) => Sampling::Defer,
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
