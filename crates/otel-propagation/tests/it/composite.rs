//! Several formats as one propagator: order, foreign members, what is stored once, and every way of using it.

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{
    BaggagePropagator as SdkBaggage, TraceContextPropagator as SdkTraceContext,
};
use otel_propagation::{
    B3Propagator, BaggagePropagator, CompositePropagator, PassThroughPropagator, PropagatorHandle,
    TraceContextPropagator, baggage,
};

use crate::support::{Foreign, PARENT, TRACE_ID, Written, span_context, value};

const B3_HEADER: (&str, &str) = ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");

pub(crate) fn everything() -> CompositePropagator {
    CompositePropagator::default()
        .with_b3(B3Propagator::single())
        .with_pass_through(PassThroughPropagator::new(["x-a"]).unwrap())
}

fn send(propagation: &PropagatorHandle, cx: &Context) -> Vec<(String, String)> {
    let mut out = Vec::new();
    propagation.inject(cx, &mut out);
    out.sort();
    out
}

#[test]
fn everything_that_was_received_is_sent_on() {
    let headers = [
        ("traceparent", "00-12345678901234567890123456789012-1234567890123456-03"),
        ("tracestate", "foo=1 , bar=2"),
        ("baggage", "a=1"),
        ("x-a", "1"),
    ];
    let propagation = PropagatorHandle::new(everything());
    let out = send(&propagation, &propagation.extract(&headers));
    let b3 = (String::from("b3"), format!("{TRACE_ID}-1234567890123456-1"));
    let mut expected: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    expected.push(b3);
    expected.sort();
    assert_eq!(out, expected);
}

#[test]
fn the_ways_agree() {
    let b3 = ("b3", "12345678901234567890123456789012-1234567890123456-d");
    let headers = [("traceparent", PARENT), ("tracestate", "foo=1"), ("baggage", "a=1"), ("x-a", "1"), b3];
    let propagator = everything();
    let typed = PropagatorHandle::new(propagator.clone());
    // A composite of the API hides the type.
    let hidden = PropagatorHandle::new(TextMapCompositePropagator::new(vec![Box::new(propagator.clone())]));
    let out = send(&typed, &typed.extract(&headers));
    assert_eq!(out.len(), 5);
    assert_eq!(send(&hidden, &hidden.extract(&headers)), out);
    let cx = propagator.extract_with_context(&Context::new(), &Foreign(&headers));
    let mut written = Written::default();
    propagator.inject_context(&cx, &mut written);
    written.0.sort();
    assert_eq!(written.0, out);
}

#[test]
fn each_format_is_recognised_on_its_own() {
    let headers = [("traceparent", PARENT), ("baggage", "a=1"), ("x-a", "1"), B3_HEADER];
    let names = |propagation: PropagatorHandle| {
        send(&propagation, &propagation.extract(&headers))
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(PropagatorHandle::new(TraceContextPropagator::new())), ["traceparent"]);
    assert_eq!(names(PropagatorHandle::new(BaggagePropagator::new())), ["baggage"]);
    assert_eq!(names(PropagatorHandle::new(B3Propagator::single())), ["b3"]);
    assert_eq!(names(PropagatorHandle::new(PassThroughPropagator::new(["x-a"]).unwrap())), ["x-a"]);
    assert_eq!(names(PropagatorHandle::new(CompositePropagator::empty())), <[&str; 0]>::default());
}

#[test]
fn of_two_span_contexts_the_later_format_counts() {
    let headers = [("traceparent", PARENT), ("tracestate", "foo=1"), B3_HEADER];
    let read = |composite: CompositePropagator, headers: &[(&str, &str)]| {
        span_context(&PropagatorHandle::new(composite).extract(headers)).trace_id().to_string()
    };
    let b3_last = CompositePropagator::empty()
        .with_trace_context(TraceContextPropagator::new())
        .with_b3(B3Propagator::single());
    let b3_first = CompositePropagator::empty()
        .with_b3(B3Propagator::single())
        .with_trace_context(TraceContextPropagator::new());
    assert_eq!(read(b3_last.clone(), &headers), &B3_HEADER.1[..32]);
    assert_eq!(read(b3_first, &headers), TRACE_ID);
    assert_eq!(read(b3_last.clone(), &headers[..1]), TRACE_ID);
    // The state of the one that does not count is not taken for the other's.
    let propagation = PropagatorHandle::new(b3_last);
    let out = send(&propagation, &propagation.extract(&headers));
    assert_eq!((value(&out, "tracestate"), value(&out, "b3")), (None, Some(B3_HEADER.1)));
    assert_eq!(&value(&out, "traceparent").unwrap()[3..35], &B3_HEADER.1[..32]);
}

#[test]
fn what_two_formats_say_of_the_same_span_is_put_together() {
    let b3 = ("b3", "12345678901234567890123456789012-1234567890123456-d");
    let random = ("traceparent", "00-12345678901234567890123456789012-1234567890123456-02");
    let headers = [random, ("tracestate", "foo=1,a@@b=2"), b3];
    let b3_last = CompositePropagator::empty()
        .with_trace_context(TraceContextPropagator::new())
        .with_b3(B3Propagator::single());
    let b3_first = CompositePropagator::empty()
        .with_b3(B3Propagator::single())
        .with_trace_context(TraceContextPropagator::new());
    // The later one decides about sampling.
    for (composite, flags) in [(b3_last, "03"), (b3_first, "02")] {
        let propagation = PropagatorHandle::new(composite);
        let cx = propagation.extract(&headers);
        assert_eq!(span_context(&cx).trace_state().header(), "foo=1");
        let out = send(&propagation, &cx);
        assert_eq!(value(&out, "traceparent").map(|text| &text[53..]), Some(flags));
        assert_eq!(value(&out, "tracestate"), Some("foo=1,a@@b=2"));
        assert_eq!(value(&out, "b3"), Some(b3.1));
        // Another span of the same trace is not the same span.
        let other = ("b3", "12345678901234567890123456789012-0000000000000001-0");
        let out = send(&propagation, &propagation.extract(&[headers[0], headers[1], other]));
        let b3_counts = flags == "03";
        let expected =
            if b3_counts { "00-12345678901234567890123456789012-0000000000000001-00" } else { random.1 };
        assert_eq!(value(&out, "traceparent"), Some(expected));
        assert_eq!(value(&out, "tracestate").is_none(), b3_counts);
    }
}

#[test]
fn a_decision_that_one_format_defers_is_the_other_formats() {
    let deferred = ("b3", "12345678901234567890123456789012-1234567890123456");
    let sampled = ("traceparent", "00-12345678901234567890123456789012-1234567890123456-01");
    let trace_context = TraceContextPropagator::new();
    for composite in [
        CompositePropagator::empty().with_trace_context(trace_context).with_b3(B3Propagator::single()),
        CompositePropagator::empty().with_b3(B3Propagator::single()).with_trace_context(trace_context),
    ] {
        let propagation = PropagatorHandle::new(composite);
        let out = send(&propagation, &propagation.extract(&[sampled, deferred, ("tracestate", "foo=1")]));
        assert_eq!(value(&out, "traceparent"), Some(sampled.1));
        assert_eq!(value(&out, "tracestate"), Some("foo=1"));
        assert_eq!(value(&out, "b3").map(|text| &text[49..]), Some("-1"));
        let out = send(&propagation, &propagation.extract(&[deferred]));
        assert_eq!(value(&out, "b3"), Some(deferred.1));
    }
}

#[test]
fn foreign_members_take_their_turn() {
    let headers = [("traceparent", PARENT), ("baggage", "a=1"), ("x-a", "1"), B3_HEADER];
    let composite = CompositePropagator::empty()
        .with_b3(B3Propagator::single())
        .with_other(SdkTraceContext::new())
        .with_other(SdkBaggage::new())
        .with_pass_through(PassThroughPropagator::new(["x-a"]).unwrap());
    let propagation = PropagatorHandle::new(composite.clone());
    let cx = propagation.extract(&headers);
    assert_eq!(span_context(&cx).trace_id().to_string(), TRACE_ID);
    assert_eq!(baggage::get(&cx, "a"), Some("1"));
    let out = send(&propagation, &cx);
    // The SDK writes an empty tracestate, which is kept from going out.
    assert_eq!(
        out.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["b3", "baggage", "traceparent", "x-a"]
    );
    assert_eq!(composite.fields().collect::<Vec<_>>(), ["b3", "traceparent", "tracestate", "baggage", "x-a"]);
}

#[test]
fn a_foreign_propagator_replaces_the_sets_that_it_writes_and_no_others() {
    let propagation = PropagatorHandle::new(TextMapCompositePropagator::new(vec![
        Box::new(SdkTraceContext::new()),
        Box::new(SdkBaggage::new()),
    ]));
    let stale = |name: &str| (name.to_owned(), "stale=1".to_owned());
    let mut out = vec![stale("Baggage"), stale("TraceState"), stale("accept")];
    propagation.inject(&propagation.extract(&[("traceparent", PARENT)]), &mut out);
    out.sort();
    let parent = ("traceparent".to_owned(), PARENT.to_owned());
    assert_eq!(out, [stale("Baggage"), stale("accept"), parent.clone()]);

    // Without a span the caller's trace headers stay, whatever else is written.
    let mut out = vec![stale("Baggage"), parent.clone(), stale("tracestate")];
    propagation.inject(&Context::new(), &mut out);
    assert_eq!(out, [stale("Baggage"), parent.clone(), stale("tracestate")]);
    propagation.inject(&Context::new().with_baggage([KeyValue::new("a", "1")]), &mut out);
    assert_eq!(out, [parent, stale("tracestate"), ("baggage".to_owned(), "a=1".to_owned())]);
}

#[test]
fn a_foreign_propagator_without_fields_reads_and_writes() {
    #[derive(Debug)]
    struct Mine;
    impl TextMapPropagator for Mine {
        fn inject_context(&self, _: &Context, injector: &mut dyn Injector) {
            injector.set("x-trace", "1".into());
        }
        fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
            let span = SpanContext::new(
                TraceId::from(7),
                SpanId::from(7),
                TraceFlags::SAMPLED,
                true,
                TraceState::NONE,
            );
            match extractor.get("x-trace") {
                Some(_) => cx.with_remote_span_context(span),
                None => cx.clone(),
            }
        }
        fn fields(&self) -> opentelemetry::propagation::text_map_propagator::FieldIter<'_> {
            opentelemetry::propagation::text_map_propagator::FieldIter::new(&[])
        }
    }
    for propagation in
        [PropagatorHandle::new(Mine), PropagatorHandle::new(CompositePropagator::default().with_other(Mine))]
    {
        let cx = propagation.extract(&[("x-trace", "1"), ("baggage", "a=1")]);
        assert_eq!(span_context(&cx).span_id(), SpanId::from(7));
        assert_eq!(value(&send(&propagation, &Context::new()), "x-trace"), Some("1"));
        let mut out = vec![("x-trace".to_owned(), "set".to_owned())];
        propagation.inject_absent(&cx, &mut out);
        assert_eq!(value(&out, "x-trace"), Some("set"));
    }
}

#[test]
fn only_what_is_absent_is_completed() {
    let received = [("traceparent", PARENT), ("tracestate", "foo=1"), ("baggage", "a=1"), ("x-a", "1")];
    let ours = PropagatorHandle::new(everything());
    let foreign = PropagatorHandle::new(TextMapCompositePropagator::new(vec![
        Box::new(SdkTraceContext::new()),
        Box::new(SdkBaggage::new()),
    ]));
    let mixed = PropagatorHandle::new(
        CompositePropagator::empty().with_b3(B3Propagator::single()).with_other(SdkTraceContext::new()),
    );
    let names = |propagation: &PropagatorHandle, set: &[&str]| {
        let mut out: Vec<_> = set.iter().map(|name| ((*name).to_owned(), "set".to_owned())).collect();
        propagation.inject_absent(&ours.extract(&received), &mut out);
        assert_eq!(out.iter().filter(|(_, value)| value == "set").count(), set.len(), "{out:?}");
        let mut names: Vec<_> = out.into_iter().skip(set.len()).map(|(name, _)| name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&ours, &[]), ["b3", "baggage", "traceparent", "tracestate", "x-a"]);
    assert_eq!(names(&ours, &["Baggage"]), ["b3", "traceparent", "tracestate", "x-a"]);
    // The headers of traces are one group: two contexts are not mixed.
    for set in ["TraceParent", "tracestate", "b3", "X-B3-Flags"] {
        assert_eq!(names(&ours, &[set]), ["baggage", "x-a"], "{set}");
    }
    assert_eq!(names(&ours, &["x-a", "b3", "baggage"]), <[&str; 0]>::default());
    assert_eq!(names(&foreign, &[]), ["baggage", "traceparent", "tracestate"]);
    assert_eq!(names(&foreign, &["tracestate"]), ["baggage"]);
    assert_eq!(names(&foreign, &["baggage"]), ["traceparent", "tracestate"]);
    assert_eq!(names(&mixed, &["traceparent"]), <[&str; 0]>::default());
    assert_eq!(names(&mixed, &["b3"]), <[&str; 0]>::default());
}

#[test]
fn baggage_can_be_left_out() {
    let headers = [("traceparent", PARENT), ("tracestate", "foo=1"), ("Baggage", "a=1"), ("x-a", "1")];
    for propagation in [
        PropagatorHandle::new(everything()),
        PropagatorHandle::new(TextMapCompositePropagator::new(vec![
            Box::new(SdkTraceContext::new()),
            Box::new(SdkBaggage::new()),
        ])),
    ] {
        assert_eq!(propagation.extract(&headers).baggage().len(), 1);
        let cx = propagation.extract_without_baggage(&headers);
        assert!(cx.baggage().is_empty());
        assert_eq!(span_context(&cx).trace_state().header(), "foo=1");
        assert_eq!(span_context(&cx).trace_id().to_string(), TRACE_ID);
    }
}

#[test]
fn a_foreign_propagator_starts_from_an_empty_context_too() {
    /// Like OpenTelemetry's no-op: no fields, and the context of the thread in return.
    #[derive(Debug)]
    struct Current;
    impl TextMapPropagator for Current {
        fn inject_context(&self, _: &Context, _: &mut dyn opentelemetry::propagation::Injector) {}
        fn extract_with_context(
            &self,
            _: &Context,
            _: &dyn opentelemetry::propagation::Extractor,
        ) -> Context {
            Context::current()
        }
        fn fields(&self) -> opentelemetry::propagation::text_map_propagator::FieldIter<'_> {
            opentelemetry::propagation::text_map_propagator::FieldIter::new(&[])
        }
    }
    let _guard =
        PropagatorHandle::new(TraceContextPropagator::new()).extract(&[("traceparent", PARENT)]).attach();
    let empty: [(&str, &str); 0] = [];
    for propagation in [
        PropagatorHandle::new(Current),
        PropagatorHandle::new(CompositePropagator::default().with_other(Current)),
        PropagatorHandle::new(SdkTraceContext::new()),
    ] {
        assert!(!span_context(&propagation.extract(&empty)).is_valid(), "{propagation:?}");
    }
}

#[test]
fn separate_propagators_share_what_they_store() {
    let headers = [("traceparent", PARENT), ("tracestate", "foo=1"), ("x-a", "1"), ("baggage", "a=1")];
    let separate = TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(PassThroughPropagator::new(["x-a"]).unwrap()),
        Box::new(BaggagePropagator::new().with_forward_only(true)),
    ]);
    let cx = separate.extract_with_context(&Context::new(), &Foreign(&headers));
    let mut out = Written::default();
    separate.inject_context(&cx, &mut out);
    out.0.sort();
    let expected = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut expected = Vec::from(expected);
    expected.sort();
    assert_eq!(out.0, expected);
}

#[test]
fn names_added_twice_are_put_together() {
    let names = |names: &[&str]| PassThroughPropagator::new(names).unwrap();
    let composite = CompositePropagator::empty()
        .with_pass_through(names(&["x-a"]))
        .with_pass_through(names(&["x-b", "x-a"]));
    assert_eq!(composite.fields().collect::<Vec<_>>(), ["x-a", "x-b"]);
    let many = |prefix: &str| (0..20).map(|number| format!("x-{prefix}-{number}")).collect::<Vec<_>>();
    let composite = CompositePropagator::empty()
        .with_pass_through(PassThroughPropagator::new(many("a")).unwrap())
        .with_pass_through(PassThroughPropagator::new(many("b")).unwrap());
    assert_eq!(composite.fields().count(), 32, "the limit of one");
}

#[test]
fn what_the_application_put_into_the_context_is_sent() {
    let span =
        SpanContext::new(TraceId::from(7), SpanId::from(8), TraceFlags::SAMPLED, false, TraceState::NONE);
    let cx = Context::new().with_remote_span_context(span).with_baggage([KeyValue::new("a", "1")]);
    let out = send(&PropagatorHandle::new(CompositePropagator::default()), &cx);
    assert_eq!(value(&out, "traceparent"), Some("00-00000000000000000000000000000007-0000000000000008-01"));
    assert_eq!(value(&out, "baggage"), Some("a=1"));
}

#[test]
fn a_list_names_the_formats() {
    let fields = |list: &str| {
        CompositePropagator::from_list(list).unwrap().fields().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(fields(""), ["traceparent", "tracestate", "baggage"]);
    assert_eq!(fields(" , "), fields(""));
    assert_eq!(fields("tracecontext"), ["traceparent", "tracestate"]);
    assert_eq!(fields(" baggage ,b3,baggage"), ["baggage", "b3"]);
    assert_eq!(fields("b3multi").len(), 4);
    assert_eq!(fields("none"), <[&str; 0]>::default());
    assert_eq!(fields("none,b3"), <[&str; 0]>::default());
}

#[test]
fn unknown_names_are_an_error_that_carries_the_rest() {
    let error = CompositePropagator::from_list("jaeger,b3,xray").unwrap_err();
    assert_eq!(
        error.to_string(),
        "propagator list has unknown names: jaeger, xray; known: tracecontext, baggage, b3, b3multi, none"
    );
    assert_eq!(error.names().collect::<Vec<_>>(), ["jaeger", "xray"]);
    assert_eq!(error.into_known().fields().collect::<Vec<_>>(), ["b3"]);
    let all_unknown = CompositePropagator::from_list("TraceContext").unwrap_err();
    assert_eq!(
        all_unknown.into_known().fields().collect::<Vec<_>>(),
        ["traceparent", "tracestate", "baggage"]
    );
}
