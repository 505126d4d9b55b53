//! Trace Context beyond W3C's suite: the received tracestate goes out as it came unless a sampler changed it, the random
//! flag is kept for its trace, and nothing stale is forwarded.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample};
use otel_propagation::{PropagatorHandle, TraceContextPropagator, is_received_random};

use crate::support::{PARENT, TRACE_ID, Written, span_context, value};

fn propagation() -> PropagatorHandle {
    PropagatorHandle::new(TraceContextPropagator::new())
}

/// Receives, starts a span with this sampler, and sends.
fn through(sampler: impl ShouldSample + 'static, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
    let incoming = propagation().extract(headers);
    let span = provider.tracer("service").start_with_context("call", &incoming);
    let mut out = Vec::new();
    propagation().inject(&incoming.with_span(span), &mut out);
    out
}

/// Puts a member at the front, as a vendor does.
#[derive(Clone, Debug)]
struct AddMember;

impl ShouldSample for AddMember {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let state = parent.map(|cx| cx.span().span_context().trace_state().clone()).unwrap_or_default();
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: state.insert("ours", "1").unwrap(),
        }
    }
}

/// Removes everything.
#[derive(Clone, Debug)]
struct Forget;

impl ShouldSample for Forget {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: TraceState::NONE,
        }
    }
}

#[test]
fn the_received_text_goes_out_unchanged() {
    for text in ["foo=1 ,\t bar=2,,", "foo@@bar=1,bar=2", "a@b@c=1", "rojo=  x"] {
        let out = through(Sampler::AlwaysOn, &[("traceparent", PARENT), ("tracestate", text)]);
        assert_eq!(value(&out, "tracestate"), Some(text.trim()), "{text}");
    }
}

#[test]
fn what_a_sampler_changed_goes_out_changed() {
    let headers = [("traceparent", PARENT), ("tracestate", "foo=1 , bar=2")];
    assert_eq!(value(&through(AddMember, &headers), "tracestate"), Some("ours=1,foo=1,bar=2"));
    assert_eq!(value(&through(Forget, &headers), "tracestate"), None);
    assert_eq!(value(&through(AddMember, &[("traceparent", PARENT)]), "tracestate"), Some("ours=1"));
}

#[test]
fn samplers_see_the_members_that_the_api_can_hold() {
    let cx =
        propagation().extract(&[("traceparent", PARENT), ("tracestate", "foo@@bar=1,bar=2,a@b@c=3,ot=th:8")]);
    assert_eq!(span_context(&cx).trace_state().header(), "bar=2,ot=th:8");
    let cx = propagation().extract(&[("traceparent", PARENT), ("tracestate", "foo=1,bar=2")]);
    assert_eq!(span_context(&cx).trace_state().header(), "foo=1,bar=2");
}

#[test]
fn a_changed_order_or_value_is_a_change() {
    let incoming = propagation().extract(&[("traceparent", PARENT), ("tracestate", "a=1,b=2,x@@y=3")]);
    let send = |state: &[(&str, &str)]| {
        let state = TraceState::from_key_value(state.iter().copied()).unwrap();
        let span = SpanContext::new(
            span_context(&incoming).trace_id(),
            SpanId::from(1),
            TraceFlags::SAMPLED,
            false,
            state,
        );
        let mut out = Vec::new();
        propagation().inject(&incoming.with_remote_span_context(span), &mut out);
        value(&out, "tracestate").map(str::to_owned)
    };
    assert_eq!(send(&[("a", "1"), ("b", "2")]).as_deref(), Some("a=1,b=2,x@@y=3"));
    // A member that the API's type cannot hold was seen by no sampler, and stays.
    assert_eq!(send(&[("b", "2"), ("a", "1")]).as_deref(), Some("b=2,a=1,x@@y=3"));
    assert_eq!(send(&[("a", "1"), ("b", "3")]).as_deref(), Some("a=1,b=3,x@@y=3"));
    assert_eq!(send(&[("a", "1")]).as_deref(), Some("a=1,x@@y=3"));
    assert_eq!(send(&[("a", "1"), ("b", "2"), ("c", "3")]).as_deref(), Some("a=1,b=2,c=3,x@@y=3"));
    assert_eq!(send(&[]).as_deref(), Some("x@@y=3"));
}

#[test]
fn other_vendors_members_survive_a_sampler_that_adds_one_and_keep_their_places() {
    let add = |text: &str| {
        value(&through(AddMember, &[("traceparent", PARENT), ("tracestate", text)]), "tracestate")
            .map(str::to_owned)
    };
    assert_eq!(add("foo@@bar=1,a=2").as_deref(), Some("ours=1,foo@@bar=1,a=2"));
    assert_eq!(add("a=2,foo@@bar=1,b=3").as_deref(), Some("ours=1,a=2,foo@@bar=1,b=3"));
    assert_eq!(add("ours=0,foo@@bar=1").as_deref(), Some("ours=1,foo@@bar=1"));
    assert_eq!(add("foo@@bar=1").as_deref(), Some("ours=1,foo@@bar=1"));
}

#[test]
fn a_sampler_that_adds_a_member_to_a_full_list_costs_the_last_one() {
    for key in ["k", "k@@"] {
        let full: Vec<String> = (0..32).map(|index| format!("{key}{index:02}=v")).collect();
        let text = full.join(",");
        let out = through(AddMember, &[("traceparent", PARENT), ("tracestate", &text)]);
        let sent = value(&out, "tracestate").unwrap().to_owned();
        assert_eq!(sent, format!("ours=1,{}", full[..31].join(",")));
        // Our own receiver takes all of it.
        let again = through(Sampler::AlwaysOn, &[("traceparent", PARENT), ("tracestate", &sent)]);
        assert_eq!(value(&again, "tracestate"), Some(&sent[..]));
    }
}

#[test]
fn a_list_that_grew_too_long_loses_its_long_members_first() {
    let long: Vec<String> = (0..30).map(|index| format!("key{index:07}={}", "v".repeat(256))).collect();
    let text = format!("short=1,{},last@@=2", long.join(","));
    assert!(text.len() < 8192);
    let state = |extra: &str| {
        let incoming = propagation().extract(&[("traceparent", PARENT), ("tracestate", &text[..])]);
        let parent = span_context(&incoming);
        let state = parent.trace_state().insert("new", extra).unwrap();
        let span = SpanContext::new(parent.trace_id(), SpanId::from(1), TraceFlags::SAMPLED, false, state);
        let mut out = Vec::new();
        propagation().inject(&incoming.with_remote_span_context(span), &mut out);
        value(&out, "tracestate").unwrap().to_owned()
    };
    // 33 members: the last one goes.
    assert_eq!(state("1"), format!("new=1,short=1,{}", long.join(",")));
    // Too many bytes: a long member goes before a short one that comes later.
    let sent = state(&"n".repeat(256));
    assert!(sent.len() <= 8192, "{}", sent.len());
    assert!(sent.starts_with("new=") && sent.contains(",short=1,"), "{sent}");
    assert!(sent.contains(",key0000028=") && !sent.contains(",key0000029="), "{sent}");
}

#[test]
fn another_trace_gets_nothing_of_what_was_received() {
    let headers =
        [("traceparent", "00-12345678901234567890123456789012-1234567890123456-03"), ("tracestate", "foo=1")];
    let incoming = propagation().extract(&headers);
    let other =
        SpanContext::new(TraceId::from(7), SpanId::from(7), TraceFlags::SAMPLED, false, TraceState::NONE);
    let mut out = Vec::new();
    propagation().inject(&incoming.with_remote_span_context(other), &mut out);
    assert_eq!(out, [("traceparent".to_owned(), format!("00-{:032x}-{:016x}-01", 7, 7))]);
}

#[test]
fn the_random_flag_survives_a_span_that_is_dropped() {
    for (flags, expected) in [("03", "02"), ("02", "02"), ("01", "00")] {
        let traceparent = format!("00-{TRACE_ID}-1234567890123456-{flags}");
        let out = through(Sampler::AlwaysOff, &[("traceparent", &traceparent)]);
        assert_eq!(&value(&out, "traceparent").unwrap()[53..], expected, "{flags}");
    }
}

#[test]
fn unknown_flags_are_not_sent() {
    let out = through(Sampler::AlwaysOn, &[("traceparent", &format!("00-{TRACE_ID}-1234567890123456-ff"))]);
    assert_eq!(&value(&out, "traceparent").unwrap()[53..], "03");
    let span =
        SpanContext::new(TraceId::from(7), SpanId::from(7), TraceFlags::new(0xfd), false, TraceState::NONE);
    let mut out = Vec::new();
    propagation().inject(&Context::new().with_remote_span_context(span), &mut out);
    assert_eq!(&value(&out, "traceparent").unwrap()[53..], "01");
}

#[test]
fn the_random_flag_can_be_asked_for() {
    let trace_id = TraceId::from_hex(TRACE_ID).unwrap();
    let random = propagation().extract(&[("traceparent", &format!("00-{TRACE_ID}-1234567890123456-02")[..])]);
    assert!(is_received_random(&random, trace_id));
    assert!(!is_received_random(&random, TraceId::from(7)));
    assert!(!is_received_random(&propagation().extract(&[("traceparent", PARENT)]), trace_id));
}

#[test]
fn a_span_context_extracted_over_another_replaces_all_of_it() {
    // The API's type cannot hold this member, so that the new span context does not show that it is gone.
    let random = format!("{}02", &PARENT[..53]);
    let first = propagation().extract(&[("traceparent", &random[..]), ("tracestate", "old@@x=1")]);
    let carrier = HashMap::from([("traceparent".to_owned(), PARENT.to_owned())]);
    let second = TraceContextPropagator::new().extract_with_context(&first, &carrier);
    let mut out = Vec::new();
    propagation().inject(&second, &mut out);
    assert_eq!(out, [("traceparent".to_owned(), PARENT.to_owned())]);
}

#[test]
fn a_tracestate_beyond_the_limit_is_dropped_and_the_traceparent_kept() {
    let member = |key: char, length| format!("{key}={}", "v".repeat(length));
    let full = format!(
        "{},{}",
        ('a'..='z').map(|key| member(key, 256)).collect::<Vec<_>>().join(","),
        member('0', 256)
    );
    assert!(full.len() < 8192);
    let padded = format!("{full}{}", ",".repeat(8192 - full.len() - 1) + "9");
    for (text, kept) in [
        (full.clone(), true),
        (format!("{full}{}", ",".repeat(8192 - full.len())), true),
        (format!("{full}{}", ",".repeat(8193 - full.len())), false),
        (padded, false),
    ] {
        let cx = propagation().extract(&[("traceparent", PARENT), ("tracestate", &text[..])]);
        assert!(span_context(&cx).is_valid());
        assert_eq!(span_context(&cx).trace_state() != &TraceState::NONE, kept, "{}", text.len());
    }
}

#[test]
fn more_lines_than_members_are_allowed_drop_the_tracestate() {
    let mut headers = vec![("traceparent", PARENT), ("tracestate", "foo=1")];
    headers.extend(std::iter::repeat_n(("tracestate", ""), 60));
    assert_eq!(span_context(&propagation().extract(&headers)).trace_state().header(), "foo=1");
    headers.extend(std::iter::repeat_n(("tracestate", ""), 10));
    let cx = propagation().extract(&headers);
    assert!(span_context(&cx).is_valid());
    assert_eq!(span_context(&cx).trace_state(), &TraceState::NONE);
}

#[test]
fn a_state_that_no_header_may_carry_is_not_sent() {
    let state = TraceState::from_key_value([("foo", "b\r\nx: y")]).unwrap();
    let span = SpanContext::new(TraceId::from(7), SpanId::from(7), TraceFlags::SAMPLED, false, state);
    let mut out = Vec::new();
    propagation().inject(&Context::new().with_remote_span_context(span), &mut out);
    assert_eq!(value(&out, "tracestate"), None);
    assert!(value(&out, "traceparent").is_some());
}

#[test]
fn without_a_span_the_callers_headers_stay_and_nothing_is_written() {
    let set = |name: &str| (name.to_owned(), "set by hand".to_owned());
    let headers = [set("TraceParent"), set("tracestate"), set("accept")];
    let mut out = Vec::from(headers.clone());
    propagation().inject(&Context::new(), &mut out);
    assert_eq!(out, headers);

    let mut foreign = Written::default();
    TraceContextPropagator::new().inject_context(&Context::new(), &mut foreign);
    assert_eq!(foreign.0, []);
}

#[test]
fn a_stale_tracestate_is_removed() {
    let mut out =
        vec![("TraceState".to_owned(), "stale=1".to_owned()), ("traceparent".to_owned(), "stale".to_owned())];
    propagation().inject(&propagation().extract(&[("traceparent", PARENT)]), &mut out);
    assert_eq!(out, [("traceparent".to_owned(), PARENT.to_owned())]);
}

#[test]
fn extraction_never_joins_the_current_span() {
    let current = propagation().extract(&[("traceparent", PARENT)]);
    let _guard = current.attach();
    let empty: [(&str, &str); 0] = [];
    assert!(!span_context(&propagation().extract(&empty)).is_valid());
    assert!(!span_context(&propagation().extract(&[("traceparent", "bad")])).is_valid());
}

#[test]
fn fields_are_the_two_headers() {
    assert_eq!(TraceContextPropagator::new().fields().collect::<Vec<_>>(), ["traceparent", "tracestate"]);
}
