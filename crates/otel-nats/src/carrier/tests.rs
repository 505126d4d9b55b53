//! Tests of the carriers: case, repetition, names and values that headers cannot hold, and sizes.

use proptest::prelude::*;

use super::*;

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    HeaderExtractor::new(Some(headers)).visit(|name, value| {
        seen.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
    });
    seen.sort();
    seen
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_name_is_written_in_lower_case_and_replaces_every_spelling() {
    let mut headers = HeaderMap::new();
    for (name, value) in [("TraceParent", "a"), ("traceparent", "b"), ("TRACEPARENT", "c"), ("Other", "d")] {
        headers.append(name, value);
    }
    let mut injector = HeaderInjector(&mut headers);
    assert!(injector.contains("traceParent"));
    injector.set("Traceparent", "e");
    injector.set("traceparent", "f");
    injector.set("X-B3-TraceId", "g");
    assert_eq!(listed(&headers), pairs(&[("Other", "d"), ("traceparent", "f"), ("x-b3-traceid", "g")]));
}

#[test]
fn removing_keeps_the_values_of_other_headers_in_their_order() {
    let mut headers = HeaderMap::new();
    for (name, value) in [("a", "2"), ("Baggage", "x"), ("a", "1"), ("baggage", "y")] {
        headers.append(name, value);
    }
    HeaderInjector(&mut headers).remove("baggage");
    let values: Vec<_> = headers.get_all("a").map(HeaderValue::as_str).collect();
    assert_eq!((headers.len(), values), (1, vec!["2", "1"]));
    HeaderInjector(&mut headers).remove("absent");
    assert_eq!(headers.len(), 1);
}

#[test]
fn a_name_or_a_value_that_headers_cannot_hold_is_ignored() {
    let mut headers = HeaderMap::new();
    headers.insert("x", "1");
    let mut injector = HeaderInjector(&mut headers);
    for (name, value) in [("", "v"), ("a b", "v"), ("a:b", "v"), ("ä", "v"), ("x", "a\r\nb"), ("x", "\n")] {
        injector.set(name, value);
    }
    assert_eq!(listed(&headers), pairs(&[("x", "1")]));
    assert!(!HeaderInjector(&mut headers).contains("a b"));
}

#[test]
fn headers_are_absent_until_one_is_written() {
    let mut headers = OutboundHeaders(None);
    headers.remove("traceparent");
    assert!(!headers.contains("traceparent") && headers.0.is_none());
    headers.set("TraceParent", "a");
    assert!(headers.contains("TRACEPARENT"));
    assert_eq!(listed(headers.0.as_ref().unwrap()), pairs(&[("traceparent", "a")]));
}

#[test]
fn the_budget_counts_the_frame_once() {
    assert_eq!(budget(None, 10, 100), Some(78));
    assert_eq!(budget(Some(&HeaderMap::new()), 10, 100), Some(78));
    assert_eq!(budget(None, 100, 100), Some(0));
    assert_eq!(budget(None, 101, 100), None);
    let mut headers = HeaderMap::new();
    headers.append("ab", "cde");
    headers.append("ab", "");
    // Two lines of 9 and 6 bytes, and the frame of 12.
    assert_eq!(budget(Some(&headers), 10, 100), Some(63));
    assert_eq!(budget(Some(&headers), 73, 100), Some(0));
    assert_eq!(budget(Some(&headers), 74, 100), None);
    // A stream stores headers of 65,535 bytes.
    assert_eq!(budget(None, 10, 1 << 20), Some(65_523));
    assert_eq!(budget(Some(&headers), 10, 1 << 20), Some(65_508));
    headers.append("ab", "c".repeat(65_535));
    assert_eq!(budget(Some(&headers), 10, 1 << 20), Some(0));
}

proptest! {
    #[test]
    fn no_name_and_no_value_panics(name in ".*", value in ".*", other in "[ -9;-~]{1,8}") {
        let mut headers = HeaderMap::new();
        if let Ok(other) = other.parse::<HeaderName>() {
            headers.append(other, "1");
        }
        let mut injector = HeaderInjector(&mut headers);
        injector.set(&name, &value);
        let written = injector.contains(&name);
        injector.remove(&name);
        prop_assert!(!injector.contains(&name));
        let valid = !name.is_empty() && name.parse::<HeaderName>().is_ok() && value.parse::<HeaderValue>().is_ok();
        prop_assert!(written || !valid);
    }
}
