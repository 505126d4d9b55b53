//! Arbitrary bytes as lines of `tracestate`: the `traceparent` is kept, and an accepted state is bounded and survives a round
//! trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _};
use otel_propagation::{PropagatorHandle, TraceContextPropagator};

const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

fuzz_target!(|data: &[u8]| {
    let propagation = PropagatorHandle::new(TraceContextPropagator::new());
    let mut headers = vec![("traceparent", PARENT)];
    headers.extend(data.split(|byte| *byte == b'\n').map(|line| ("tracestate", line)));
    let cx = propagation.extract(&headers);
    assert!(cx.span().span_context().is_valid());
    let mut sent = Vec::new();
    propagation.inject(&cx, &mut sent);
    assert!(sent.iter().all(|(_, value)| !value.is_empty() && value.len() <= 8192));
    // A sampler's member is in front, and our own receiver takes the list.
    let parent = cx.span().span_context().clone();
    if let Ok(state) = parent.trace_state().insert("sampler", "1") {
        let (trace_id, span_id) = (parent.trace_id(), SpanId::from(7));
        let child = SpanContext::new(trace_id, span_id, parent.trace_flags(), false, state);
        let mut changed = Vec::new();
        propagation.inject(&cx.with_remote_span_context(child), &mut changed);
        let read = propagation.extract(&changed).span().span_context().clone();
        assert_eq!(read.trace_state().into_iter().next(), Some(("sampler", "1")));
        let others = |text: &str| text.split(',').filter(|member| !member.trim().is_empty()).count();
        let list =
            |headers: &[(String, String)]| headers.iter().find(|(name, _)| name == "tracestate").cloned();
        let before = list(&sent).map_or(0, |(_, text)| others(&text));
        assert!(
            list(&changed)
                .is_some_and(|(_, text)| others(&text) <= (before + 1).min(32) && text.len() <= 8192)
        );
    }
    let mut again = Vec::new();
    propagation.inject(&propagation.extract(&sent), &mut again);
    assert_eq!(sent, again);
});
