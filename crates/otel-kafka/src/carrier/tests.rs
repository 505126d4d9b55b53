//! Tests of reading and writing headers.

use super::*;

use opentelemetry::trace::TraceContextExt as _;
use proptest::prelude::*;
use rdkafka::message::Header;

fn headers(list: &[(&str, &str)]) -> OwnedHeaders {
    list.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(*value) })
    })
}

fn seen(headers: &OwnedHeaders) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    HeaderExtractor::new(headers)
        .visit_wanted(|name| name != "unwanted", |name, value| seen.push((name.to_owned(), value.to_vec())));
    seen.sort();
    seen
}

/// Returns all headers in their order.
fn all(headers: &OwnedHeaders) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let headers = headers.as_borrowed();
    (0..raw::count(headers))
        .filter_map(|index| raw::get(headers, index))
        .map(|(name, value)| (name.to_bytes().to_vec(), value.map(<[u8]>::to_vec)))
        .collect()
}

#[test]
fn of_several_headers_of_one_name_the_last_is_read() {
    let mut list = vec![("traceparent", "old"), ("x", "1"), ("TraceParent", "new"), ("unwanted", "1")];
    let expected = [("TraceParent".to_owned(), b"new".to_vec()), ("x".to_owned(), b"1".to_vec())];
    assert_eq!(seen(&headers(&list)), expected);
    list.splice(0..0, std::iter::repeat_n(("traceparent", "oldest"), 2 * FEW));
    assert_eq!(seen(&headers(&list)), expected);
    // More names than `FEW`.
    let names: Vec<_> = (0..2 * FEW).map(|name| name.to_string()).collect();
    let old = names.iter().map(|name| (&**name, "old"));
    let list: Vec<_> = old.chain(names.iter().map(|name| (&**name, "new"))).collect();
    let seen = seen(&headers(&list));
    assert_eq!(seen.len(), names.len());
    assert!(seen.iter().all(|(_, value)| value == b"new"));
}

#[test]
fn a_hostile_number_of_headers_is_compared_with_the_propagators_fields_alone() {
    let mut list = vec![("traceparent", "00-00000000000000000000000000000007-0000000000000007-01")];
    let names: Vec<_> = (0..60_000).map(|name| format!("{name:x}")).collect();
    list.extend(names.iter().map(|name| (&**name, "")));
    let headers = headers(&list);
    let compared = std::cell::Cell::new(0);
    let wanted = |name: &str| {
        compared.set(compared.get() + 1);
        name == "traceparent"
    };
    let mut visited = 0;
    HeaderExtractor::new(&headers).visit_wanted(wanted, |_, _| visited += 1);
    assert_eq!((compared.get(), visited), (list.len(), 1));
    let context = otel_propagation::PropagatorHandle::new(otel_propagation::CompositePropagator::default())
        .extract(&HeaderExtractor::new(&headers));
    assert_eq!(context.span().span_context().span_id(), 7.into());
}

#[test]
fn a_value_that_is_null_hides_those_before_it() {
    let headers = headers(&[("baggage", "a=1")]).insert(Header { key: "baggage", value: None::<&str> });
    assert_eq!(seen(&headers), []);
}

#[test]
fn writing_replaces_all_namesakes_and_keeps_the_rest_in_order() {
    let mut written = Some(headers(&[("Baggage", "1"), ("a", "1"), ("baggage", "2"), ("b", "2")]));
    let mut carrier = HeaderInjector(&mut written);
    assert!(carrier.contains("BAGGAGE"));
    carrier.set("baggage", "new");
    carrier.remove("missing");
    let all = all(&written.unwrap());
    let all: Vec<_> = all.iter().map(|(name, value)| (&name[..], value.as_deref().unwrap())).collect();
    assert_eq!(all, [(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"baggage", b"new")]);
}

#[test]
fn a_record_without_headers_gets_some() {
    let mut written = None;
    let mut carrier = HeaderInjector(&mut written);
    assert!(!carrier.contains("traceparent"));
    carrier.remove("traceparent");
    carrier.set("traceparent", "new");
    assert_eq!(seen(&written.unwrap()), [("traceparent".to_owned(), b"new".to_vec())]);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", Just("traceparent".to_owned()), Just("Baggage".to_owned()), "\\PC{0,5}"]
}

proptest! {
    #[test]
    fn a_records_own_headers_can_always_be_had_back(
        own in proptest::option::of(proptest::collection::vec((name(), ".{0,8}"), 0..24)),
        set in proptest::collection::vec((name(), ".{0,8}", any::<bool>()), 0..4),
    ) {
        // librdkafka truncates a name at a zero byte, in the original headers too.
        let list = own.as_ref().map(|own| own.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>());
        let before = list.as_ref().map(|list| headers(list));
        let mut written = HeaderEdit::new(before.clone());
        for (name, value, stays) in &set {
            let name = name.replace('\0', "");
            if *stays { written.set(&name, value) } else { HeaderWriter::remove(&mut written, &name) }
            prop_assert_eq!(written.contains(&name), *stays);
        }
        let (sent, original) = written.into_parts();
        let after = match original {
            Some(original) => original.restore(sent),
            None => sent,
        };
        prop_assert_eq!(after.as_ref().map(all), before.as_ref().map(all));
    }
}
