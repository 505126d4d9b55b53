//! Arbitrary bytes as lines of a `baggage` header: the result is bounded, survives a round trip, and forward-only mode
//! preserves its members.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use otel_propagation::{BaggagePropagator, PropagatorHandle};

fn members(cx: &Context) -> Vec<(String, String, String)> {
    let mut members: Vec<_> = (cx.baggage().iter())
        .map(|(name, (value, more))| (name.to_string(), value.to_string(), more.to_string()))
        .collect();
    members.sort();
    members
}

fuzz_target!(|data: &[u8]| {
    let reading = PropagatorHandle::new(BaggagePropagator::new());
    let forwarding = PropagatorHandle::new(BaggagePropagator::new().with_forward_only(true));
    let headers: Vec<_> = data.split(|byte| *byte == b'\n').map(|line| ("baggage", line)).collect();
    let cx = reading.extract(&headers);
    assert!(cx.baggage().len() <= 64);

    let mut forwarded = Vec::new();
    forwarding.inject(&forwarding.extract(&headers), &mut forwarded);
    assert!(forwarded.iter().all(|(_, value)| !value.is_empty() && value.len() <= 8192));
    assert_eq!(members(&reading.extract(&forwarded)), members(&cx));

    let mut sent = Vec::new();
    reading.inject(&cx, &mut sent);
    assert!(sent.iter().all(|(_, value)| !value.is_empty() && value.len() <= 8192));
    // No limit costs a member, although encoded values can be longer than they came.
    assert_eq!(members(&reading.extract(&sent)), members(&cx));
});
