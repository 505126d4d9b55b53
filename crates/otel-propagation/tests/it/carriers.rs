//! The carriers that come with the crate: string maps, slices and vectors of pairs.

use std::collections::{BTreeMap, HashMap};

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator as SdkTraceContext;
use otel_propagation::{
    B3Propagator, CompositePropagator, HeaderReader, HeaderWriter, PassThroughPropagator, PropagatorHandle,
};

use crate::support::{PARENT, TRACE_ID, span_context};

fn reads<C: HeaderReader + ?Sized>(carrier: &C) {
    for propagation in [PropagatorHandle::new(CompositePropagator::default()), PropagatorHandle::new(Hidden)]
    {
        let cx = propagation.extract(carrier);
        assert_eq!(span_context(&cx).trace_id().to_string(), TRACE_ID, "{propagation:?}");
    }
}

/// The SDK's propagator, reached through the API's trait objects.
#[derive(Debug)]
struct Hidden;

impl TextMapPropagator for Hidden {
    fn inject_context(
        &self,
        cx: &opentelemetry::Context,
        injector: &mut dyn opentelemetry::propagation::Injector,
    ) {
        SdkTraceContext::new().inject_context(cx, injector);
    }

    fn extract_with_context(
        &self,
        cx: &opentelemetry::Context,
        extractor: &dyn opentelemetry::propagation::Extractor,
    ) -> opentelemetry::Context {
        assert!(extractor.keys().contains(&"TraceParent"));
        assert_eq!(extractor.get_all("traceparent"), Some(vec![PARENT]));
        assert_eq!((extractor.get("absent"), extractor.get_all("absent")), (None, None));
        SdkTraceContext::new().extract_with_context(cx, extractor)
    }

    fn fields(&self) -> opentelemetry::propagation::text_map_propagator::FieldIter<'_> {
        static FIELDS: std::sync::LazyLock<Vec<String>> =
            std::sync::LazyLock::new(|| vec!["traceparent".to_owned(), "tracestate".to_owned()]);
        opentelemetry::propagation::text_map_propagator::FieldIter::new(&FIELDS)
    }
}

/// Sets and removes without regard to case, and writes lower case.
fn writes<C: HeaderReader + HeaderWriter>(mut carrier: C) {
    let all = |carrier: &C| {
        let mut all = Vec::new();
        carrier.visit(|name, value| all.push((name.to_owned(), String::from_utf8(value.to_vec()).unwrap())));
        all.sort();
        all
    };
    carrier.set("X-A", "1");
    carrier.set("x-a", "2");
    carrier.set("x-b", "3");
    assert_eq!(all(&carrier), [("x-a".to_owned(), "2".to_owned()), ("x-b".to_owned(), "3".to_owned())]);
    assert!(carrier.contains("X-a") && !carrier.contains("x-c"));
    carrier.remove("X-B");
    assert_eq!(all(&carrier), [("x-a".to_owned(), "2".to_owned())]);
}

#[test]
fn string_maps() {
    let pair = || ("TraceParent".to_owned(), PARENT.to_owned());
    reads(&HashMap::from([pair()]));
    reads(&BTreeMap::from([pair()]));
    writes(HashMap::<String, String>::new());
    writes(BTreeMap::<String, String>::new());
}

#[test]
fn names_in_another_case_are_replaced() {
    let old = || ("X-A".to_owned(), "0".to_owned());
    let mut map = HashMap::from([old()]);
    HeaderWriter::set(&mut map, "x-a", "1");
    assert_eq!(map, HashMap::from([("x-a".to_owned(), "1".to_owned())]));
    let mut map = BTreeMap::from([old()]);
    HeaderWriter::set(&mut map, "x-a", "1");
    assert_eq!(map, BTreeMap::from([("x-a".to_owned(), "1".to_owned())]));
    let mut pairs = vec![old(), old()];
    HeaderWriter::set(&mut pairs, "x-a", "1");
    assert_eq!(pairs, [("x-a".to_owned(), "1".to_owned())]);
}

#[test]
fn slices_arrays_and_vectors_of_pairs() {
    reads(&[("TraceParent", PARENT)]);
    reads(&[("TraceParent", PARENT.as_bytes())][..]);
    reads(&vec![("TraceParent".to_owned(), PARENT.as_bytes().to_vec())]);
    writes(Vec::<(String, String)>::new());
}

#[test]
fn repeated_headers_are_all_seen() {
    let propagation = PropagatorHandle::new(CompositePropagator::default());
    assert!(
        !span_context(&propagation.extract(&[("traceparent", PARENT), ("Traceparent", PARENT)])).is_valid()
    );
    let cx = propagation.extract(&[("baggage", "a=1"), ("BAGGAGE", "b=2")]);
    assert_eq!(cx.baggage().len(), 2);
}

#[test]
fn values_that_are_not_utf8_are_seen() {
    let headers = [("traceparent", &b"\xff\xfe"[..]), ("traceparent", PARENT.as_bytes())];
    assert!(
        !span_context(&PropagatorHandle::new(CompositePropagator::default()).extract(&headers)).is_valid()
    );
}

/// A carrier that passes on no header but the wanted ones, as one does in which each costs something.
struct Choosy<'a>(&'a [(&'a str, &'a str)]);

impl HeaderReader for Choosy<'_> {
    fn visit<'a>(&'a self, _: impl FnMut(&'a str, &'a [u8])) {
        panic!("a propagator reads the headers that it wants");
    }

    fn visit_wanted<'a>(&'a self, wanted: impl Fn(&str) -> bool, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.0.iter().filter(|(name, _)| wanted(name)) {
            assert_ne!(*name, "x-foreign");
            visitor(name, value.as_bytes());
        }
    }
}

#[test]
fn every_format_is_read_from_its_own_headers_alone() {
    let headers = [
        ("x-foreign", "1"),
        ("TraceParent", PARENT),
        ("tracestate", "a=1"),
        ("baggage", "k=v"),
        ("x-request-id", "7"),
    ];
    let pass_through = PassThroughPropagator::new(["X-Request-Id"]).unwrap();
    let all = CompositePropagator::default().with_b3(B3Propagator::multi()).with_pass_through(pass_through);
    for propagator in [CompositePropagator::default(), all.clone()] {
        let propagation = PropagatorHandle::new(propagator);
        let cx = propagation.extract(&Choosy(&headers));
        assert_eq!(span_context(&cx).trace_id().to_string(), TRACE_ID);
        assert_eq!(span_context(&cx).trace_state().header(), "a=1");
        assert_eq!(cx.baggage().len(), 1);
        assert!(propagation.extract_without_baggage(&Choosy(&headers)).baggage().is_empty());
    }
    let mut sent = HashMap::new();
    let propagation = PropagatorHandle::new(all);
    propagation.inject(&propagation.extract(&Choosy(&headers)), &mut sent);
    assert_eq!(sent.get("x-request-id").map(String::as_str), Some("7"));
    let b3 = [("X-B3-TraceId", TRACE_ID), ("x-b3-spanid", "b7ad6b7169203331"), ("x-foreign", "1")];
    assert_eq!(span_context(&propagation.extract(&Choosy(&b3))).trace_id().to_string(), TRACE_ID);
    let foreign = PropagatorHandle::new(SdkTraceContext::new());
    assert_eq!(span_context(&foreign.extract(&Choosy(&headers))).trace_id().to_string(), TRACE_ID);
}

#[test]
fn bytes_are_written_as_their_text() {
    fn written<C: HeaderWriter + Default>(by_bytes: bool) -> C {
        let mut carrier = C::default();
        for (name, value) in [("traceparent", "00-1"), ("x-a", "1\n2"), ("x-b", "\u{fc}")] {
            match by_bytes {
                true => carrier.set_bytes(name, value.as_bytes()),
                false => carrier.set(name, value),
            }
        }
        if by_bytes {
            carrier.set_bytes("x-c", b"\xff");
        }
        carrier
    }
    assert_eq!(written::<HashMap<String, String>>(true), written::<HashMap<String, String>>(false));
    assert_eq!(written::<BTreeMap<String, String>>(true), written::<BTreeMap<String, String>>(false));
    assert_eq!(written::<Vec<(String, String)>>(true), written::<Vec<(String, String)>>(false));
}
