//! Headers that travel unchanged.

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use otel_propagation::{CompositePropagator, PassThroughError, PassThroughPropagator, PropagatorHandle};

use crate::support::{Foreign, PARENT, Written, value};

fn propagation(names: &[&str]) -> PropagatorHandle {
    PropagatorHandle::new(PassThroughPropagator::new(names).unwrap())
}

fn passed(names: &[&str], headers: &[(&str, &[u8])]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    propagation(names).inject(&propagation(names).extract(headers), &mut out);
    out
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn listed_headers_travel_and_others_do_not() {
    let headers: [(&str, &[u8]); 3] =
        [("X-Request-ID", b" 42 "), ("authorization", b"secret"), ("X-Tenant", b"a\tb \xc3\xbc")];
    let out = passed(&["x-tenant", "X-Request-Id", "x-absent"], &headers);
    assert_eq!(out, pairs(&[("x-tenant", "a\tb ü"), ("x-request-id", "42")]));
}

#[test]
fn repeated_headers_are_joined() {
    assert_eq!(passed(&["x-a"], &[("x-a", b"1"), ("X-A", b""), ("x-a", b"2")]), pairs(&[("x-a", "1, 2")]));
}

#[test]
fn values_that_no_header_may_carry_are_dropped() {
    for bad in [&b"\xff"[..], b"a\r\nb: c", b"a\0", b"", b"a\x7f"] {
        assert_eq!(
            passed(&["x-a", "x-b"], &[("x-a", bad), ("x-b", b"1")]),
            pairs(&[("x-b", "1")]),
            "{bad:?}"
        );
    }
}

#[test]
fn what_the_caller_set_is_neither_removed_nor_replaced() {
    let cx = propagation(&["x-a", "x-b"]).extract(&[("x-a", "received"), ("x-b", "received")]);
    let mut out = pairs(&[("X-A", "set")]);
    propagation(&["x-a", "x-b"]).inject(&cx, &mut out);
    assert_eq!(out, pairs(&[("X-A", "set"), ("x-b", "received")]));
    propagation(&["x-a"]).inject(&Context::new(), &mut out);
    assert_eq!(out.len(), 2);
}

#[test]
fn a_name_that_another_format_owns_is_left_to_it() {
    let composite = CompositePropagator::default()
        .with_pass_through(PassThroughPropagator::new(["traceparent", "x-a"]).unwrap());
    let propagation = PropagatorHandle::new(composite);
    let mut out = pairs(&[("traceparent", "stale")]);
    propagation.inject(&propagation.extract(&[("traceparent", PARENT), ("x-a", "1")]), &mut out);
    assert_eq!(out, pairs(&[("traceparent", PARENT), ("x-a", "1")]));
}

#[test]
fn values_are_bounded() {
    let (fits, too_long) = (vec![b'x'; 8192], vec![b'x'; 8193]);
    assert_eq!(passed(&["x-a"], &[("x-a", &fits)]).len(), 1);
    assert_eq!(passed(&["x-a"], &[("x-a", &too_long)]), []);
    assert_eq!(
        passed(&["x-a", "x-b", "x-c"], &[("x-a", &fits[..8000]), ("x-b", &fits[..200]), ("x-c", b"1")]).len(),
        2
    );
    let many = vec![("x-a", &b"1"[..]); 1000];
    assert_eq!(passed(&["x-a"], &many)[0].1.len(), 64 * 3 - 2);
}

#[test]
fn names_are_checked() {
    for name in ["", "a b", "a:b", "ü"] {
        let error = PassThroughPropagator::new(["x-a", name]).unwrap_err();
        assert!(matches!(&error, PassThroughError::Name { name: found, .. } if found == name), "{error:?}");
    }
    let names = |count: usize| (0..count).map(|number| format!("x-{number}")).collect::<Vec<_>>();
    assert!(PassThroughPropagator::new(names(32)).is_ok());
    let error = PassThroughPropagator::new(names(33)).unwrap_err();
    assert!(error.to_string().contains("more than 32"), "{error}");
    assert_eq!(PassThroughPropagator::new(["x-a", "X-A"]).unwrap().fields().collect::<Vec<_>>(), ["x-a"]);
}

#[test]
fn it_works_as_an_ordinary_propagator() {
    let propagator = PassThroughPropagator::new(["x-a"]).unwrap();
    let cx = propagator.extract_with_context(&Context::new(), &Foreign(&[("X-A", "1")]));
    let mut out = Written::default();
    propagator.inject_context(&cx, &mut out);
    assert_eq!(value(&out.0, "x-a"), Some("1"));
}
