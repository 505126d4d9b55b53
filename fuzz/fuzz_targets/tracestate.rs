//! Arbitrary bytes as lines of `tracestate`: the `traceparent` is kept, and an accepted state is bounded and survives a round
//! trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry::trace::TraceContextExt as _;
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
    let mut again = Vec::new();
    propagation.inject(&propagation.extract(&sent), &mut again);
    assert_eq!(sent, again);
});
