//! The `baggage` header, in and out.

use std::collections::HashMap;

use opentelemetry::baggage::{BaggageExt as _, KeyValueMetadata};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::{Context, KeyValue};
use otel_propagation::{BaggagePropagator, PropagatorHandle, baggage};
use proptest::prelude::*;

use crate::support::{Foreign, Written, value};

fn propagation() -> PropagatorHandle {
    PropagatorHandle::new(BaggagePropagator::new())
}

fn forward_only() -> PropagatorHandle {
    PropagatorHandle::new(BaggagePropagator::new().with_forward_only(true))
}

/// Returns the members that are read from these lines, sorted: name, value, properties.
fn read(lines: &[&[u8]]) -> Vec<(String, String, String)> {
    let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| ("baggage", *line)).collect();
    let cx = propagation().extract(&headers);
    let mut all: Vec<_> = (cx.baggage().iter())
        .map(|(name, (value, more))| (name.to_string(), value.to_string(), more.to_string()))
        .collect();
    all.sort();
    all
}

fn reads(line: &str, expected: &[(&str, &str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, value, more)| ((*name).into(), (*value).into(), (*more).into()))
        .collect();
    assert_eq!(read(&[line.as_bytes()]), expected, "{line:?}");
}

/// Returns the members that are sent, in order of name.
fn sent(propagation: &PropagatorHandle, cx: &Context) -> Vec<String> {
    let mut out = Vec::new();
    propagation.inject(cx, &mut out);
    let header = value(&out, "baggage");
    assert_ne!(header, Some(""), "an empty header is never sent");
    let mut members: Vec<String> =
        header.into_iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
    members.sort();
    members
}

#[test]
fn members_values_and_properties_are_read() {
    reads("a=1,b=2", &[("a", "1", ""), ("b", "2", "")]);
    reads(" a = 1 , b\t=\t2 ;p = q ; r ", &[("a", "1", ""), ("b", "2", "p = q ; r")]);
    reads("a=1;p;q=%20;r=s", &[("a", "1", "p;q=%20;r=s")]);
    reads("a=", &[("a", "", "")]);
    reads("a=b=c", &[("a", "b=c", "")]);
    reads("a=1,a=2", &[("a", "2", "")]);
    reads("!#$%&'*+-.^_`|~=1", &[("!#$%&'*+-.^_`|~", "1", "")]);
}

#[test]
fn values_are_percent_decoded_and_names_are_not() {
    reads("a=x%20y", &[("a", "x y", "")]);
    reads("a=%C3%a4%2C%3b%25", &[("a", "ä,;%", "")]);
    reads("a%20b=1", &[("a%20b", "1", "")]);
    reads("a=%ff%20", &[("a", "\u{fffd} ", "")]);
    reads(
        "a=100%,b=%2,c=%zz,d=%%41",
        &[("a", "100%", ""), ("b", "%2", ""), ("c", "%zz", ""), ("d", "%A", "")],
    );
}

#[test]
fn a_bad_member_is_skipped_and_the_others_are_kept() {
    for bad in [
        "",
        "b",
        "=2",
        "b b=2",
        "b=2 2",
        "b=\"2\"",
        "b=\\",
        "b@c=2",
        "ü=2",
        "b=ü",
        "b=2;p\x01",
        "b=2;ü",
        "b=\x7f",
        ";p",
    ] {
        reads(&format!("a=1,{bad},c=3"), &[("a", "1", ""), ("c", "3", "")]);
    }
    let expected =
        [("a".to_owned(), "1".to_owned(), String::new()), ("c".to_owned(), "3".to_owned(), String::new())];
    assert_eq!(read(&[b"a=1,b=\xff\xfe,c=3"]), expected);
}

#[test]
fn several_headers_are_joined() {
    let expected: Vec<_> =
        ["a", "b", "c"].map(|name| (name.to_owned(), name.to_owned(), String::new())).into();
    assert_eq!(read(&[b"a=a", b"", b"b=b,", b"\xff", b" c=c "]), expected);
}

#[test]
fn at_most_64_members_are_read() {
    let line: Vec<String> = (0..70).map(|number| format!("k{number:02}=v")).collect();
    let all = read(&[line.join(",").as_bytes()]);
    assert_eq!((all.len(), all[63].0.as_str()), (64, "k63"));
}

#[test]
fn at_most_8192_bytes_are_read_and_what_fits_is_kept() {
    let exactly = format!("a={}", "x".repeat(8190));
    assert_eq!(read(&[exactly.as_bytes()]).len(), 1);
    assert_eq!(read(&[format!("{exactly}x").as_bytes()]), []);
    let names =
        |line: String| read(&[line.as_bytes()]).into_iter().map(|member| member.0).collect::<Vec<_>>();
    assert_eq!(names(format!("a={},b=2,c=3", "x".repeat(9000))), ["b", "c"]);
    // With commas: 8186 + 1 + 5 bytes are 8192, and one more is too many.
    assert_eq!(names(format!("a={},b=222", "x".repeat(8184))), ["a", "b"]);
    assert_eq!(names(format!("a={},b=2222", "x".repeat(8184))), ["a"]);
}

#[test]
fn an_empty_header_is_no_baggage() {
    let base = Context::new().with_baggage([KeyValue::new("kept", "yes")]);
    let cx = BaggagePropagator::new().extract_with_context(&base, &Foreign(&[("baggage", " ,bad, ")]));
    assert_eq!(baggage::get(&cx, "kept"), Some("yes"));
}

#[test]
fn values_are_percent_encoded_and_properties_kept() {
    let cx = Context::new().with_baggage([
        KeyValueMetadata::new("a", "x y,z;=%\"\\ü\n", ""),
        KeyValueMetadata::new("b", "!#$&'()*+-./:<>?@[]^_`{|}~", "p=q;r"),
        KeyValueMetadata::new("c", "", "bad,property"),
        KeyValueMetadata::new("d", "", "bad\r\nproperty"),
    ]);
    let expected = ["a=x%20y%2Cz%3B=%25%22%5C%C3%BC%0A", "b=!#$&'()*%2B-./:<>?@[]^_`{|}~;p=q;r", "c=", "d="];
    assert_eq!(sent(&propagation(), &cx), expected);
}

#[test]
fn at_most_64_members_and_8192_bytes_are_sent() {
    let many: Vec<KeyValue> =
        (0..64).map(|number| KeyValue::new(format!("k{number:02}"), " ".repeat(60))).collect();
    let members = sent(&propagation(), &Context::new().with_baggage(many));
    // A member is 4 + 180 bytes and a comma.
    assert_eq!((members.len(), members[0].len()), (44, 184));
    let forwarded: Vec<String> = (0..64).map(|number| format!("k{number:02}=v")).collect();
    let cx = forward_only().extract(&[("baggage", forwarded.join(","))]);
    let cx = baggage::set(&cx, "own", "1").unwrap();
    let members = sent(&propagation(), &cx);
    assert_eq!(members.len(), 64);
    assert!(members.contains(&"own=1".to_owned()));
}

#[test]
fn baggage_of_the_caller_stays_unless_the_context_has_some() {
    let set = vec![("Baggage".to_owned(), "tenant=acme".to_owned())];
    for propagation in [propagation(), forward_only()] {
        let mut out = set.clone();
        propagation.inject(&Context::new(), &mut out);
        assert_eq!(out, set);
        propagation.inject(&propagation.extract(&[("baggage", "a=1")]), &mut out);
        assert_eq!(out, [("baggage".to_owned(), "a=1".to_owned())]);
    }
}

/// Members and their properties, sorted.
fn listed(cx: &Context) -> Vec<String> {
    let member = |(name, (value, more)): (&opentelemetry::Key, &(opentelemetry::StringValue, _))| {
        let more: &opentelemetry::baggage::BaggageMetadata = more;
        format!("{name}={value};{}", more.as_str())
    };
    let mut all: Vec<_> = cx.baggage().iter().map(member).collect();
    all.sort();
    all
}

#[test]
fn members_survive_a_hop() {
    let given = "a=1;p=1;q, b=%E4%BD%A0%20x ,c=%, d==, e=\"q\", f=a%2Cb;x=%2C, g=1+1, h=%ff";
    let cx = propagation().extract(&[("baggage", given)]);
    let expected = ["a=1;p=1;q", "b=你 x;", "c=%;", "d==;", "f=a,b;x=%2C", "g=1+1;", "h=\u{fffd};"];
    assert_eq!(listed(&cx), expected);
    let mut out = Vec::new();
    propagation().inject(&cx, &mut out);
    assert_eq!(listed(&propagation().extract(&out)), expected);
    // The order of members is not kept by the API's type, and has no meaning.
    let many: Vec<String> = (0..10).map(|index| format!("k{index}=v")).collect();
    assert_eq!(sent(&propagation(), &propagation().extract(&[("baggage", many.join(","))])), many);
}

#[test]
fn what_is_no_text_goes_out_as_it_came() {
    let cx = propagation().extract(&[("baggage", "a=%ff%20;p , b=%fe, a=%ff, c=1")]);
    assert_eq!(sent(&propagation(), &cx), ["a=%ff", "b=%fe", "c=1"]);
    let cx = baggage::set(&cx, "b", "+").unwrap();
    assert_eq!(sent(&propagation(), &cx), ["a=%ff", "b=%2B", "c=1"]);
    assert_eq!(sent(&propagation(), &baggage::remove(&cx, "a")), ["b=%2B", "c=1"]);
    assert_eq!(sent(&propagation(), &baggage::clear(&cx)), <[&str; 0]>::default());
}

#[test]
fn a_limit_that_only_encoding_would_break_loses_nothing() {
    for octet in ["=", "+", "%", "%ff"] {
        let value = octet.repeat(390 / octet.len());
        let members: Vec<String> = (0..10).map(|index| format!("k{index}={value};p")).collect();
        let cx = propagation().extract(&[("baggage", members.join(","))]);
        assert_eq!(sent(&propagation(), &cx).len(), 10, "{octet}");
        let mut out = Vec::new();
        propagation().inject(&cx, &mut out);
        assert_eq!(listed(&propagation().extract(&out)), listed(&cx), "{octet}");
        // A member that is set by hand has its place beside them.
        let more = baggage::set(&cx, "more", "1").unwrap();
        assert_eq!(sent(&propagation(), &more).len(), 11, "{octet}");
    }
}

#[test]
fn the_first_members_count_where_there_are_too_many_and_the_last_of_a_name() {
    let one = format!("a={}", "x".repeat(8190));
    assert_eq!(sent(&propagation(), &propagation().extract(&[("baggage", &one)])), [one]);
    let many: Vec<String> = (0..100).map(|index| format!("k{index}=v")).collect();
    let cx = propagation().extract(&[("baggage", many.join(","))]);
    assert_eq!(
        (cx.baggage().len(), baggage::get(&cx, "k0"), baggage::get(&cx, "k64")),
        (64, Some("v"), None)
    );
    let cx = propagation().extract(&[("baggage", "a=1,a=2")]);
    assert_eq!(baggage::get(&cx, "a"), Some("2"));
}

#[test]
fn baggage_that_is_only_forwarded_is_not_read() {
    let cx = forward_only().extract(&[("baggage", "a=x%20y;p , bad,"), ("baggage", "b=2")]);
    assert!(cx.baggage().is_empty());
    assert_eq!(sent(&forward_only(), &cx), ["a=x%20y;p", "b=2"]);
    let cx = baggage::set_all(&cx, [("a", "own"), ("c", "3")]).unwrap();
    assert_eq!(sent(&forward_only(), &cx), ["a=own", "b=2", "c=3"]);
    assert_eq!(sent(&forward_only(), &baggage::clear(&cx)), <[&str; 0]>::default());
    let none = forward_only().extract(&[("baggage", "bad")]);
    assert_eq!(sent(&forward_only(), &none), <[&str; 0]>::default());
}

#[test]
fn it_works_as_an_ordinary_propagator() {
    let propagator = BaggagePropagator::new();
    assert_eq!(propagator.fields().collect::<Vec<_>>(), ["baggage"]);
    let carrier = HashMap::from([("baggage".to_owned(), "a=1".to_owned())]);
    let cx = propagator.extract_with_context(&Context::new(), &carrier);
    let mut out = Written::default();
    propagator.inject_context(&cx, &mut out);
    assert_eq!(out.0, [("baggage".to_owned(), "a=1".to_owned())]);
}

proptest! {
    #[test]
    fn what_is_set_is_what_arrives(members in prop::collection::btree_map("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", ".{0,12}", 0..16)) {
        let pairs = members.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let cx = baggage::set_all(&Context::new(), pairs).unwrap();
        let mut carrier = Vec::new();
        propagation().inject(&cx, &mut carrier);
        let cx = propagation().extract(&carrier);
        prop_assert_eq!(cx.baggage().len(), members.len());
        for (name, value) in &members {
            prop_assert_eq!(baggage::get(&cx, name), Some(value.as_str()));
        }
    }

    #[test]
    fn what_is_forwarded_is_what_would_be_read(line in "[a-c=;,% \\t\"é0-9]{0,80}") {
        let headers = [("baggage", line)];
        let mut forwarded = Vec::new();
        forward_only().inject(&forward_only().extract(&headers), &mut forwarded);
        let (read, read_again) = (propagation().extract(&headers), propagation().extract(&forwarded));
        prop_assert_eq!(read.baggage().len(), read_again.baggage().len());
        for (name, value) in read.baggage() {
            prop_assert_eq!(read_again.baggage().get_with_metadata(name.as_str()), Some(value));
        }
    }
}
