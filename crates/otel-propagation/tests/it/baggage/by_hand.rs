//! Setting and removing members by hand: every refusal names the member and why, and leaves the context as it was.

use opentelemetry::baggage::{BaggageExt as _, KeyValueMetadata};
use opentelemetry::{Context, KeyValue};
use otel_propagation::baggage::{self, BaggageError};

fn with(count: usize) -> Context {
    Context::new()
        .with_baggage((0..count).map(|number| KeyValue::new(format!("k{number}"), "v")).collect::<Vec<_>>())
}

#[test]
fn set_and_get_and_remove() {
    let empty = Context::new();
    let one = baggage::set(&empty, "a", "1").unwrap();
    let two = baggage::set_all(&one, [("b", "2"), ("a", "3"), ("b", "4")]).unwrap();
    assert_eq!((baggage::get(&empty, "a"), baggage::get(&one, "a")), (None, Some("1")));
    assert_eq!((baggage::get(&two, "a"), baggage::get(&two, "b")), (Some("3"), Some("4")));
    let left = baggage::remove(&two, "a");
    assert_eq!(
        (baggage::get(&left, "a"), baggage::get(&left, "b"), left.baggage().len()),
        (None, Some("4"), 1)
    );
    assert_eq!(baggage::remove(&left, "absent").baggage().len(), 1);
    assert!(baggage::clear(&left).baggage().is_empty());
}

#[test]
fn properties_of_other_members_are_kept_and_those_of_the_replaced_one_are_not() {
    let cx = Context::new()
        .with_baggage([KeyValueMetadata::new("a", "1", "p=q"), KeyValueMetadata::new("b", "2", "r")]);
    let cx = baggage::set(&cx, "b", "3").unwrap();
    let properties = |name: &str| cx.baggage().get_with_metadata(name).unwrap().1.as_str().to_owned();
    assert_eq!((properties("a").as_str(), properties("b").as_str()), ("p=q", ""));
}

#[test]
fn a_name_that_is_no_token_is_an_error() {
    let cx = with(1);
    for name in ["", "a b", "a=b", "ü", "a,b", "a\n"] {
        let error = baggage::set_all(&cx, [("fine", "1"), (name, "2")]).unwrap_err();
        assert!(matches!(error, BaggageError::Name { .. }), "{error:?}");
        assert_eq!(error.name(), name);
        assert!(error.to_string().contains("token"), "{error}");
    }
    assert_eq!(cx.baggage().len(), 1);
}

#[test]
fn more_than_64_members_are_an_error() {
    let cx = with(63);
    let full = baggage::set(&cx, "last", "1").unwrap();
    let error = baggage::set(&full, "more", "1").unwrap_err();
    assert_eq!(error.to_string(), "baggage member \"more\" not set: more than 64 members");
    assert_eq!(full.baggage().len(), 64);
    // Replacing one is not adding one.
    assert_eq!(baggage::get(&baggage::set(&full, "last", "2").unwrap(), "last"), Some("2"));
}

#[test]
fn more_than_8192_bytes_are_an_error_as_they_are_sent() {
    let cx = baggage::set(&Context::new(), "a", &"x".repeat(8190)).unwrap();
    assert_eq!(baggage::get(&cx, "a").map(str::len), Some(8190));
    let error = baggage::set(&Context::new(), "a", &"x".repeat(8191)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "baggage member \"a\" not set: the header would have 8193 bytes, more than 8192"
    );
    // A space is sent as three bytes, and a comma stands between members.
    assert!(baggage::set(&Context::new(), "a", &" ".repeat(2730)).is_ok());
    assert!(baggage::set(&Context::new(), "a", &" ".repeat(2731)).is_err());
    let error =
        baggage::set_all(&Context::new(), [("a", "x".repeat(8184).as_str()), ("b", "2222")]).unwrap_err();
    assert_eq!(error.name(), "b");
    assert!(baggage::set_all(&Context::new(), [("a", "x".repeat(8184).as_str()), ("b", "222")]).is_ok());
}

#[test]
fn setting_and_removing_many_times_does_not_use_the_limit_up() {
    let mut cx = Context::new();
    for _ in 0..100 {
        cx = baggage::remove(&baggage::set(&cx, "a", &"x".repeat(1000)).unwrap(), "a");
    }
    assert_eq!(baggage::get(&baggage::set(&cx, "a", "1").unwrap(), "a"), Some("1"));
}

#[test]
fn everything_that_was_set_can_be_read() {
    let cx = baggage::set(&Context::new(), "a", &"x".repeat(8000)).unwrap();
    let cx = baggage::set(&cx, "b", "y").unwrap();
    assert_eq!((baggage::get(&cx, "a").map(str::len), baggage::get(&cx, "b")), (Some(8000), Some("y")));
    for special in "!#$%&'*+-.^_`|~".chars() {
        let name = format!("a{special}b");
        let cx = baggage::set(&Context::new(), &name, "v").unwrap();
        assert_eq!(baggage::get(&cx, &name), Some("v"), "{name}");
    }
}
