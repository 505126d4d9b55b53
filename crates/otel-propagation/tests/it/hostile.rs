//! Hostile headers: no panic, bounded memory, an empty context or a valid one; and what is valid survives a round trip.

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use otel_propagation::{
    B3Propagator, BaggagePropagator, CompositePropagator, PassThroughPropagator, PropagatorHandle,
    TraceContextPropagator,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{PARENT, span_context};

const NAMES: [&str; 9] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-a",
];

/// The bytes that all values of one context may take when they are sent: each of tracestate, baggage, and passed-through
/// headers has 8192, and the rest is ids.
const MOST_BYTES: usize = 3 * 8192 + 512;

fn propagations() -> [PropagatorHandle; 2] {
    let composite = CompositePropagator::default()
        .with_b3(B3Propagator::multi())
        .with_pass_through(PassThroughPropagator::new(["x-a"]).unwrap());
    let forward = BaggagePropagator::new().with_forward_only(true);
    [
        PropagatorHandle::new(composite),
        PropagatorHandle::new(
            CompositePropagator::empty()
                .with_trace_context(TraceContextPropagator::new())
                .with_baggage(forward),
        ),
    ]
}

/// Reads and writes; what comes out is bounded, and nothing but text without control characters.
fn survives(headers: &[(&str, Vec<u8>)]) {
    for propagation in propagations() {
        let cx = propagation.extract(headers);
        assert!(cx.baggage().len() <= 64);
        let mut out = Vec::new();
        propagation.inject(&cx, &mut out);
        assert!(out.iter().map(|(_, value)| value.len()).sum::<usize>() <= MOST_BYTES);
        for (name, value) in &out {
            assert!(
                !value.is_empty() && !value.chars().any(|char| char.is_control() && char != '\t'),
                "{name}: {value:?}"
            );
        }
        // We read the same from the text that we send.
        let again = propagation.extract(&out);
        assert_eq!(span_context(&again), span_context(&cx));
        assert_eq!(again.baggage().len(), cx.baggage().len());
    }
}

fn headers(value: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    vec((prop::sample::select(&NAMES[..]), value), 0..12)
}

/// Bytes that the formats give a meaning to.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(&b"0123456789abcdefgA-=,;%@ \t\"\\\xff\xc3\x00"[..]), 0..80)
}

/// A valid value, of which one byte is replaced and the end is cut off.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop::sample::select(vec![
        PARENT.as_bytes().to_vec(),
        b"cc-12345678901234567890123456789012-1234567890123456-03-x".to_vec(),
        b"foo=1,bar@baz=2 , a@b@c=3".to_vec(),
        b"userId=alice;p=q,tenant=acme%20corp".to_vec(),
        b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d".to_vec(),
        b"e457b5a2e4d86bd1".to_vec(),
        b"1".to_vec(),
    ]);
    (valid, any::<prop::sample::Index>(), any::<u8>(), 0_usize..3).prop_map(|(mut value, at, byte, cut)| {
        let at = at.index(value.len());
        value[at] = byte;
        value.truncate(value.len().saturating_sub(cut));
        value
    })
}

proptest! {
    #[test]
    fn random_bytes(headers in headers(vec(any::<u8>(), 0..120))) {
        survives(&headers);
    }

    #[test]
    fn likely_bytes(headers in headers(likely())) {
        survives(&headers);
    }

    #[test]
    fn nearly_valid_values(headers in headers(nearly_valid())) {
        survives(&headers);
    }

    #[test]
    fn a_span_context_survives(trace in 1..=u128::MAX, span in 1..=u64::MAX, flags in 0..4_u8) {
        let sent = SpanContext::new(TraceId::from(trace), SpanId::from(span), TraceFlags::new(flags), true, TraceState::NONE);
        let mut out = Vec::new();
        let propagation = PropagatorHandle::new(TraceContextPropagator::new());
        propagation.inject(&Context::new().with_remote_span_context(sent.clone()), &mut out);
        prop_assert_eq!(span_context(&propagation.extract(&out)), sent);
    }

    #[test]
    fn a_tracestate_survives(members in prop::collection::btree_map("[a-z0-9][a-z0-9@_*/-]{0,12}", "[ -+\\--<>-~]{0,12}[!-+\\--<>-~]", 0..=32)) {
        let text = members.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        let propagation = PropagatorHandle::new(TraceContextPropagator::new());
        let mut out = Vec::new();
        propagation.inject(&propagation.extract(&[("traceparent", PARENT), ("tracestate", &text)]), &mut out);
        let sent = out.iter().find(|(name, _)| name == "tracestate").map(|(_, value)| value.as_str());
        prop_assert_eq!(sent, (!text.is_empty()).then_some(text.as_str()));
    }
}

#[test]
fn values_of_64_kib() {
    let long = |piece: &str| piece.repeat(65536 / piece.len()).into_bytes();
    for piece in [
        "0",
        ",",
        "a=1,",
        "a",
        "%41",
        "-",
        " ",
        "=",
        ";",
        "\u{0}",
        "ä",
        "00-12345678901234567890123456789012-1234567890123456-01",
    ] {
        let headers: Vec<_> = NAMES.iter().map(|name| (*name, long(piece))).collect();
        survives(&headers);
    }
    let mut distinct: Vec<String> = (0..9000).map(|number| format!("k{number}={number}")).collect();
    survives(&[
        ("traceparent", PARENT.into()),
        ("baggage", distinct.join(",").into()),
        ("tracestate", distinct.join(",").into()),
    ]);
    distinct.truncate(30);
    survives(&[("traceparent", PARENT.into()), ("tracestate", distinct.join(",").into())]);
}

#[test]
fn ten_thousand_repeats() {
    for value in [&b"a=1"[..], b"", b"\xff", PARENT.as_bytes(), b"0"] {
        for name in NAMES {
            survives(&vec![(name, value.to_vec()); 10_000]);
        }
        let all: Vec<_> = NAMES.iter().cycle().take(10_000).map(|name| (*name, value.to_vec())).collect();
        survives(&all);
    }
}

#[test]
fn repeats_of_one_header_do_not_cost_the_others() {
    let mut headers = vec![("tracestate", b"foo=1".to_vec()); 10_000];
    headers.extend(vec![("baggage", b"a=1".to_vec()); 10_000]);
    headers.extend([("traceparent", PARENT.into()), ("x-a", b"1".to_vec())]);
    let [propagation, _] = propagations();
    let cx = propagation.extract(&headers);
    assert!(span_context(&cx).is_valid());
    assert_eq!(cx.baggage().len(), 1);
    let mut out = Vec::new();
    propagation.inject(&cx, &mut out);
    assert!(out.contains(&("x-a".to_owned(), "1".to_owned())));
}
