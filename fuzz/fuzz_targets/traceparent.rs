//! Arbitrary bytes as `traceparent`: an accepted context is valid and survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry::trace::TraceContextExt as _;
use otel_propagation::{PropagatorHandle, TraceContextPropagator};

fuzz_target!(|data: &[u8]| {
    let propagation = PropagatorHandle::new(TraceContextPropagator::new());
    let cx = propagation.extract(&[("traceparent", data)]);
    let mut sent = Vec::new();
    propagation.inject(&cx, &mut sent);
    assert_eq!(cx.span().span_context().is_valid(), !sent.is_empty());
    assert_eq!(cx.span().span_context(), propagation.extract(&sent).span().span_context());
});
