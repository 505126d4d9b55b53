//! The suite's cases of the `tracestate` header.

use crate::support::{PARENT, TRACE_ID, call, members};

/// Sends a `traceparent` and these lines of `tracestate`; the trace has to be continued whatever they are.
fn sent(lines: &[&str]) -> Vec<(String, String)> {
    let mut headers = vec![("traceparent", PARENT)];
    headers.extend(lines.iter().map(|line| ("tracestate", *line)));
    let sent = call(&headers);
    assert_eq!(sent.trace_id, TRACE_ID, "{lines:?}");
    members(sent.tracestate.as_deref())
}

fn is_inherited(lines: &[&str], expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(sent(lines), expected, "{lines:?}");
}

fn is_discarded(lines: &[&str]) {
    assert_eq!(sent(lines), [], "{lines:?}");
}

#[test]
fn tracestate_included_traceparent_missing() {
    assert_eq!(call(&[("tracestate", "foo=1")]).tracestate, None);
    assert_eq!(call(&[("tracestate", "foo=1,bar=2")]).tracestate, None);
}

#[test]
fn tracestate_included_traceparent_included() {
    is_inherited(&["foo=1,bar=2"], &[("foo", "1"), ("bar", "2")]);
}

#[test]
fn tracestate_header_name() {
    for name in ["trace-state", "trace.state"] {
        let sent = call(&[("traceparent", PARENT), (name, "foo=1")]);
        assert_eq!((sent.trace_id.as_str(), sent.tracestate), (TRACE_ID, None), "{name}");
    }
}

#[test]
fn tracestate_header_name_valid_casing() {
    for name in ["TraceState", "TrAcEsTaTe", "TRACESTATE"] {
        let sent = call(&[("traceparent", PARENT), (name, "foo=1")]);
        assert_eq!(sent.tracestate.as_deref(), Some("foo=1"), "{name}");
    }
}

#[test]
fn tracestate_empty_header() {
    is_discarded(&[""]);
    is_inherited(&["foo=1", ""], &[("foo", "1")]);
    is_inherited(&["", "foo=1"], &[("foo", "1")]);
}

#[test]
fn tracestate_multiple_headers_different_keys() {
    let expected = [("foo", "1"), ("bar", "2"), ("rojo", "1"), ("congo", "2"), ("baz", "3")];
    is_inherited(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], &expected);
}

#[test]
fn tracestate_duplicated_keys() {
    is_inherited(&["foo=1,foo=1"], &[("foo", "1")]);
    is_inherited(&["foo=1,foo=2"], &[("foo", "1")]);
    is_inherited(&["foo=1", "foo=1"], &[("foo", "1")]);
    is_inherited(&["foo=1", "foo=2"], &[("foo", "1")]);
}

/// Not in the suite: the first member of a key counts, and all others keep their places.
#[test]
fn tracestate_duplicated_keys_among_others() {
    is_inherited(&["ot=th:8,congo=t61,foo=1,foo=2"], &[("ot", "th:8"), ("congo", "t61"), ("foo", "1")]);
    is_inherited(&["foo=1,a@@b=2,foo=3", "a@@b=4 , bar=5"], &[("foo", "1"), ("a@@b", "2"), ("bar", "5")]);
    let full = numbered(1, 32);
    assert_eq!(sent(&[&format!("{full},bar01=x,{full}")]).len(), 32);
    is_discarded(&[&format!("{full},bar01=x,foo=1")]);
    is_discarded(&["foo=1,foo=a\tb"]);
}

#[test]
fn tracestate_all_allowed_characters() {
    let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let with_vendor = format!("{key}@a-z0-9_-*/");
    let value: String = (' '..='~').filter(|char| !matches!(char, ',' | '=')).collect();
    is_inherited(&[&format!("{key}={value}")], &[(key, &value)]);
    is_inherited(&[&format!("{with_vendor}={value}")], &[(&with_vendor, &value)]);
}

#[test]
fn tracestate_ows_handling() {
    let three = [("foo", "1"), ("bar", "2"), ("baz", "3")];
    is_inherited(&["foo=1 \t , \t bar=2, \t baz=3"], &three);
    is_inherited(&["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], &three);
    for line in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"] {
        is_inherited(&[line], &[("foo", "1")]);
    }
}

#[test]
fn tracestate_key_illegal_characters() {
    is_discarded(&["foo =1"]);
    is_discarded(&["FOO=1"]);
    is_discarded(&["foo.bar=1"]);
}

/// The suite, written for level 1, also wants the other three discarded. Level 2: `@` is an ordinary character of a key
/// after its first, in any number and place.
#[test]
fn tracestate_key_illegal_vendor_format() {
    is_discarded(&["@foo=1,bar=2"]);
    is_inherited(&["foo@=1,bar=2"], &[("foo@", "1"), ("bar", "2")]);
    is_inherited(&["foo@@bar=1,bar=2"], &[("foo@@bar", "1"), ("bar", "2")]);
    is_inherited(&["foo@bar@baz=1,bar=2"], &[("foo@bar@baz", "1"), ("bar", "2")]);
}

fn numbered(from: usize, to: usize) -> String {
    (from..=to).map(|number| format!("bar{number:02}={number:02}")).collect::<Vec<_>>().join(",")
}

#[test]
fn tracestate_member_count_limit() {
    let (first, second, third) = (numbered(1, 10), numbered(11, 20), numbered(21, 30));
    let kept = sent(&[&first, &second, &third, "bar31=31,bar32=32"]);
    assert_eq!((kept.len(), &kept[0].0[..], &kept[31].1[..]), (32, "bar01", "32"));
    is_discarded(&[&first, &second, &third, "bar31=31,bar32=32,bar33=33"]);
}

/// The suite, written for level 1, also limits the parts around an `@`. Level 2: 256 characters, whatever they are.
#[test]
fn tracestate_key_length_limit() {
    let line = |key: &str| format!("{key}=1");
    let long = "z".repeat(256);
    is_inherited(&["foo=1", &line(&long)], &[("foo", "1"), (&long, "1")]);
    is_discarded(&["foo=1", &line(&"z".repeat(257))]);
    for (tenant, vendor) in [(241, 14), (242, 1), (1, 15), (254, 1)] {
        let key = format!("{}@{}", "t".repeat(tenant), "v".repeat(vendor));
        is_inherited(&["foo=1", &line(&key)], &[("foo", "1"), (&key, "1")]);
    }
    is_discarded(&["foo=1", &line(&format!("{}@v", "t".repeat(255)))]);
}

#[test]
fn tracestate_value_illegal_characters() {
    is_discarded(&["foo=bar=baz"]);
    is_discarded(&["foo=,bar=3"]);
}

/// Not in the suite: 256 characters, printable, and leading spaces are part of the value.
#[test]
fn tracestate_values() {
    let long = "v".repeat(256);
    is_inherited(&[&format!("foo={long}")], &[("foo", &long)]);
    is_discarded(&[&format!("foo={long}v")]);
    is_inherited(&["foo=  1"], &[("foo", "  1")]);
    is_discarded(&["foo=a\tb"]);
    is_discarded(&["foo=ä"]);
    is_discarded(&["foo= "]);
}

/// Not in the suite: members may be empty, and do not count.
#[test]
fn tracestate_empty_members() {
    is_inherited(&[",foo=1,, \t ,bar=2,"], &[("foo", "1"), ("bar", "2")]);
    is_discarded(&[",,"]);
    is_discarded(&["foo"]);
    is_discarded(&["=1"]);
    assert_eq!(sent(&[&format!(",,,{},,", numbered(1, 32))]).len(), 32);
}
