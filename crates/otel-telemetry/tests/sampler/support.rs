//! Helpers that call samplers, and the text form of their decisions.

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// A trace that every threshold keeps, and one that only zero keeps.
pub(crate) const HIGH: u128 = u128::MAX;
pub(crate) const LOW: u128 = 1 << 64;

/// Returns a context with a parent, remote or local.
pub(crate) fn parent(remote: bool, sampled: bool, trace_id: u128, state: &str) -> Context {
    let state: TraceState = state.parse().unwrap();
    let flags = TraceFlags::default().with_sampled(sampled);
    let parent = SpanContext::new(TraceId::from(trace_id), SpanId::from(7), flags, remote, state);
    Context::new().with_remote_span_context(parent)
}

pub(crate) fn ask(
    sampler: &impl ShouldSample,
    cx: &Context,
    trace_id: u128,
    (name, kind, attributes): (&str, SpanKind, &[KeyValue]),
) -> SamplingResult {
    sampler.should_sample(Some(cx), TraceId::from(trace_id), name, &kind, attributes, &[])
}

/// Returns the decision about a span in this context, `sampled` or `dropped`, and the resulting `tracestate`.
pub(crate) fn decide(sampler: &impl ShouldSample, cx: &Context, trace_id: u128) -> (&'static str, String) {
    let result = ask(sampler, cx, trace_id, ("span", SpanKind::Internal, &[]));
    let decision = match result.decision {
        SamplingDecision::RecordAndSample => "sampled",
        SamplingDecision::Drop => "dropped",
        SamplingDecision::RecordOnly => "recorded",
    };
    (decision, result.trace_state.header())
}

pub(crate) fn decide_root(sampler: &impl ShouldSample, trace_id: u128) -> (&'static str, String) {
    decide(sampler, &Context::new(), trace_id)
}

/// SplitMix64: seeded, so that a test uses the same traces in every run.
#[derive(Debug)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn trace_id(&mut self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }
}

/// Returns the number of traces that a sampled span represents, by the text of the specification.
pub(crate) fn adjusted_count(state: &TraceState) -> f64 {
    let th = state.get("ot").and_then(|ot| ot.split(';').find_map(|member| member.strip_prefix("th:")));
    let th = th.expect("a threshold");
    let threshold = u64::from_str_radix(&format!("{th:0<14}"), 16).unwrap();
    let range = 2.0f64.powi(56);
    range / (range - threshold as f64)
}
