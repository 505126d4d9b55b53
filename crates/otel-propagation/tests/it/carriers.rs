//! The carriers that come with the crate: string maps, slices and vectors of pairs.

use std::collections::{BTreeMap, HashMap};

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator as SdkTraceContext;
use otel_propagation::{CompositePropagator, HeaderReader, HeaderWriter, PropagatorHandle};

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
