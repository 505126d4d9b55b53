//! Arbitrary bytes as B3 headers, one per line: an accepted context is valid and survives a round trip in both formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry::trace::TraceContextExt as _;
use otel_propagation::{B3Propagator, PropagatorHandle};

const NAMES: [&str; 5] = ["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"];

fuzz_target!(|data: &[u8]| {
    let headers: Vec<_> = NAMES.iter().copied().zip(data.split(|byte| *byte == b'\n')).collect();
    for propagation in
        [PropagatorHandle::new(B3Propagator::single()), PropagatorHandle::new(B3Propagator::multi())]
    {
        let cx = propagation.extract(&headers);
        let mut sent = Vec::new();
        propagation.inject(&cx, &mut sent);
        assert_eq!(cx.span().span_context().is_valid(), !sent.is_empty());
        assert_eq!(cx.span().span_context(), propagation.extract(&sent).span().span_context());
    }
});
