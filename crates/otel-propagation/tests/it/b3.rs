//! B3, single and multi.

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use otel_propagation::{B3Propagator, PropagatorHandle};

use crate::support::{Foreign, Written, span_context, value};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";

fn read(headers: &[(&str, &str)]) -> SpanContext {
    let typed = span_context(&PropagatorHandle::new(B3Propagator::single()).extract(headers));
    for propagator in [B3Propagator::single(), B3Propagator::multi()] {
        let foreign = propagator.extract_with_context(&Context::new(), &Foreign(headers));
        assert_eq!(typed, span_context(&foreign));
    }
    typed
}

fn reads(headers: &[(&str, &str)], trace_id: &str, sampled: bool) {
    let found = read(headers);
    let ids = (found.trace_id().to_string(), found.span_id().to_string());
    assert_eq!(ids, (trace_id.to_owned(), SPAN.to_owned()), "{headers:?}");
    assert_eq!((found.is_sampled(), found.is_remote()), (sampled, true), "{headers:?}");
}

fn write(b3: B3Propagator, cx: &Context) -> Vec<(String, String)> {
    let mut out = Vec::new();
    PropagatorHandle::new(b3).inject(cx, &mut out);
    out
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_single_header_is_read() {
    for (state, sampled) in
        [("", false), ("-0", false), ("-1", true), ("-d", true), ("-1-05e3ac9a4f6e3b90", true)]
    {
        reads(&[("B3", &format!("{TRACE}-{SPAN}{state}"))], TRACE, sampled);
    }
    reads(&[("b3", &format!(" 64fe8b2a57d3eff7-{SPAN}-1\t"))], "000000000000000064fe8b2a57d3eff7", true);
}

#[test]
fn several_headers_are_read() {
    let ids = [("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)];
    reads(&ids, TRACE, false);
    for (name, value, sampled) in [
        ("X-B3-Sampled", "1", true),
        ("X-B3-Sampled", "true", true),
        ("X-B3-Sampled", "0", false),
        ("X-B3-Sampled", "false", false),
        ("X-B3-Flags", "1", true),
        ("X-B3-Flags", "0", false),
    ] {
        reads(&[ids[0], ids[1], (name, value)], TRACE, sampled);
    }
}

#[test]
fn the_single_header_comes_first() {
    let single = format!("{TRACE}-{SPAN}-1");
    let multi = [("x-b3-traceid", "00000000000000000000000000000001"), ("x-b3-spanid", "0000000000000001")];
    reads(&[multi[0], multi[1], ("b3", &single)], TRACE, true);
    let found = read(&[multi[0], multi[1], ("b3", "bad")]);
    assert_eq!(found.trace_id(), TraceId::from(1));
}

#[test]
fn what_breaks_the_format_is_no_context() {
    let upper = TRACE.to_uppercase();
    for single in [
        "",
        "0",
        "1",
        "d",
        "-",
        TRACE,
        &format!("{upper}-{SPAN}"),
        &format!("{TRACE}-{}", SPAN.to_uppercase()),
        &format!("{TRACE}-{SPAN}-"),
        &format!("{TRACE}-{SPAN}-2"),
        &format!("{TRACE}-{SPAN}-1-"),
        &format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90-"),
        &format!("{TRACE}0-{SPAN}"),
        &format!("{TRACE}-{SPAN}0"),
        &format!("{:032}-{SPAN}", 0),
        &format!("{:016}-{SPAN}", 0),
        &format!("{TRACE}-{:016}", 0),
    ] {
        assert!(!read(&[("b3", single)]).is_valid(), "{single:?}");
    }
    let single = format!("{TRACE}-{SPAN}-1");
    assert!(!read(&[("b3", &single), ("b3", &single)]).is_valid());
    assert!(!read(&[("x-b3-traceid", TRACE)]).is_valid());
    assert!(!read(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-spanid", SPAN)]).is_valid());
}

#[test]
fn one_form_is_written() {
    let span = |flags| {
        let (trace_id, span_id) = (TraceId::from_hex(TRACE).unwrap(), SpanId::from_hex(SPAN).unwrap());
        let span = SpanContext::new(trace_id, span_id, flags, false, TraceState::NONE);
        Context::new().with_remote_span_context(span)
    };
    let sampled = span(TraceFlags::new(3));
    assert_eq!(write(B3Propagator::single(), &sampled), pairs(&[("b3", &format!("{TRACE}-{SPAN}-1"))]));
    assert_eq!(
        write(B3Propagator::default(), &span(TraceFlags::NOT_SAMPLED)),
        pairs(&[("b3", &format!("{TRACE}-{SPAN}-0"))])
    );
    let expected = pairs(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")]);
    assert_eq!(write(B3Propagator::multi(), &sampled), expected);
    assert_eq!(write(B3Propagator::multi(), &Context::new()), []);
}

#[test]
fn debug_is_sent_on_for_its_trace_alone() {
    let cx = PropagatorHandle::new(B3Propagator::single()).extract(&[("b3", format!("{TRACE}-{SPAN}-d"))]);
    assert_eq!(write(B3Propagator::single(), &cx), pairs(&[("b3", &format!("{TRACE}-{SPAN}-d"))]));
    let expected = pairs(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-flags", "1")]);
    assert_eq!(write(B3Propagator::multi(), &cx), expected);
    let other =
        SpanContext::new(TraceId::from(7), SpanId::from(7), TraceFlags::SAMPLED, false, TraceState::NONE);
    let out = write(B3Propagator::single(), &cx.with_remote_span_context(other));
    assert!(value(&out, "b3").unwrap().ends_with("-1"), "{out:?}");
}

#[test]
fn all_forms_are_removed_before_writing() {
    let names =
        ["B3", "X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-Flags", "accept"];
    let mut out = pairs(&names.map(|name| (name, "stale")));
    PropagatorHandle::new(B3Propagator::multi()).inject(&Context::new(), &mut out);
    assert_eq!(out, pairs(&[("accept", "stale")]));
}

#[test]
fn fields_are_those_of_the_form_that_is_written() {
    assert_eq!(B3Propagator::single().fields().collect::<Vec<_>>(), ["b3"]);
    let multi = ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"];
    assert_eq!(B3Propagator::multi().fields().collect::<Vec<_>>(), multi);
    let cx = B3Propagator::multi()
        .extract_with_context(&Context::new(), &Foreign(&[("b3", &format!("{TRACE}-{SPAN}-1"))]));
    let mut out = Written::default();
    B3Propagator::multi().inject_context(&cx, &mut out);
    assert_eq!(out.0, pairs(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")]));
}
