//! B3, single and multi.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use otel_propagation::{B3Propagator, CompositePropagator, HeaderWriter, PropagatorHandle};

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
fn all_forms_are_replaced_as_one_and_only_by_a_span() {
    let names =
        ["B3", "X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-Flags", "accept"];
    let stale = pairs(&names.map(|name| (name, "stale")));
    let single = format!("{TRACE}-{SPAN}-1");
    let span = PropagatorHandle::new(B3Propagator::single()).extract(&[("b3", &single)]);
    for propagator in [B3Propagator::single(), B3Propagator::multi()] {
        let mut out = stale.clone();
        PropagatorHandle::new(propagator).inject(&Context::new(), &mut out);
        assert_eq!(out, stale);
        PropagatorHandle::new(propagator).inject(&span, &mut out);
        let ours = write(propagator, &span);
        assert_eq!(out[0], ("accept".to_owned(), "stale".to_owned()));
        assert_eq!(out[1..], ours);
    }
}

#[test]
fn both_forms_are_written_where_both_are_wanted() {
    let both = CompositePropagator::empty().with_b3(B3Propagator::single()).with_b3(B3Propagator::multi());
    let both = PropagatorHandle::new(both);
    let mut out = vec![("x-b3-flags".to_owned(), "stale".to_owned())];
    both.inject(&both.extract(&[("b3", format!("{TRACE}-{SPAN}-1"))]), &mut out);
    let mut names: Vec<_> = out.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["b3", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"]);
}

/// A carrier that keeps the case of names, as Kafka's headers do.
#[derive(Default)]
struct KeepsCase(Vec<(String, String)>);

impl HeaderWriter for KeepsCase {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

#[test]
fn names_are_written_in_the_spelling_of_the_specification() {
    let cx = PropagatorHandle::new(B3Propagator::multi()).extract(&[("b3", format!("{TRACE}-{SPAN}-1"))]);
    let mut out = KeepsCase::default();
    PropagatorHandle::new(B3Propagator::multi()).inject(&cx, &mut out);
    assert_eq!(out.0, pairs(&[("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN), ("X-B3-Sampled", "1")]));
}

#[test]
fn a_reader_that_compares_case_finds_both_spellings() {
    struct CaseSensitive([(&'static str, &'static str); 2]);
    impl Extractor for CaseSensitive {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
        }
        fn keys(&self) -> Vec<&str> {
            self.0.iter().map(|(name, _)| *name).collect()
        }
    }
    for [trace_id, span_id] in [["X-B3-TraceId", "X-B3-SpanId"], ["x-b3-traceid", "x-b3-spanid"]] {
        let carrier = CaseSensitive([(trace_id, TRACE), (span_id, SPAN)]);
        let cx = B3Propagator::multi().extract_with_context(&Context::new(), &carrier);
        assert_eq!(span_context(&cx).trace_id().to_string(), TRACE, "{trace_id}");
    }
}

#[test]
fn every_received_sampling_state_is_sent_on() {
    let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    let single = |state: &str| vec![("b3".to_owned(), format!("{TRACE}-{SPAN}{state}"))];
    let multi = |name: &str, value: &str| pairs(&[ids[0], ids[1], (name, value)]);
    for (received, sampled, sent) in [
        (single("-1"), true, "-1"),
        (single("-d"), true, "-d"),
        (single("-0"), false, "-0"),
        (single(""), false, ""),
        (multi("x-b3-sampled", "1"), true, "-1"),
        (multi("x-b3-sampled", "True"), true, "-1"),
        (multi("x-b3-sampled", "d"), false, "-0"),
        (multi("x-b3-flags", "1"), true, "-d"),
        (pairs(&ids), false, ""),
    ] {
        let cx = PropagatorHandle::new(B3Propagator::single()).extract(&received);
        assert_eq!(span_context(&cx).is_sampled(), sampled, "{received:?}");
        assert_eq!(write(B3Propagator::single(), &cx), single(sent), "{received:?}");
    }
    // A decision without ids, and ids in upper case, are no context, and nothing is sent.
    let upper = format!("{}-{}-1", TRACE.to_uppercase(), SPAN.to_uppercase());
    for (name, value) in [("b3", "0"), ("b3", "d"), ("x-b3-sampled", "0"), ("b3", &upper)] {
        let cx = PropagatorHandle::new(B3Propagator::single()).extract(&[(name, value)]);
        assert!(!span_context(&cx).is_valid());
        assert_eq!(write(B3Propagator::single(), &cx), []);
    }
}

#[test]
fn a_deferred_decision_is_made_by_a_span_that_starts_here() {
    let cx = PropagatorHandle::new(B3Propagator::multi()).extract(&[("b3", format!("{TRACE}-{SPAN}"))]);
    assert_eq!(write(B3Propagator::multi(), &cx), pairs(&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)]));
    let child = |flags| {
        let trace_id = TraceId::from_hex(TRACE).unwrap();
        cx.with_remote_span_context(SpanContext::new(
            trace_id,
            SpanId::from(7),
            flags,
            false,
            TraceState::NONE,
        ))
    };
    for (flags, state) in [(TraceFlags::SAMPLED, "1"), (TraceFlags::NOT_SAMPLED, "0")] {
        let out = write(B3Propagator::multi(), &child(flags));
        assert_eq!(value(&out, "x-b3-sampled"), Some(state));
    }
}

#[test]
fn fields_are_those_of_the_form_that_is_written() {
    assert_eq!(B3Propagator::single().fields().collect::<Vec<_>>(), ["b3"]);
    let multi = ["X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled", "X-B3-Flags"];
    assert_eq!(B3Propagator::multi().fields().collect::<Vec<_>>(), multi);
    let cx = B3Propagator::multi()
        .extract_with_context(&Context::new(), &Foreign(&[("b3", &format!("{TRACE}-{SPAN}-1"))]));
    let mut out = Written::default();
    B3Propagator::multi().inject_context(&cx, &mut out);
    assert_eq!(out.0, pairs(&[("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN), ("X-B3-Sampled", "1")]));
}
