//! Tests of the values read from a `tracestate`, and of the parts that stay when its threshold changes.

use super::*;

fn state(header: &str) -> TraceState {
    header.parse().unwrap()
}

fn th(text: &str) -> Threshold {
    Threshold::parse(text).unwrap()
}

#[test]
fn a_threshold_and_a_randomness_are_read_from_the_ot_entry_alone() {
    let read = |header: &str| threshold(&state(header));
    assert_eq!(read("ot=th:8"), Some(th("8")));
    assert_eq!(read("a=1,ot=p:8;th:c;r:62,b=2"), Some(th("c")));
    for none in ["", "ot=", "ot=th:", "ot=th", "ot=xth:8", "ot=rv:8", "th=8", "vendor=th:8", "ot=th:xyz"] {
        assert_eq!(read(none), None, "{none:?}");
    }

    let id = TraceId::from(7);
    let random = |header: &str| randomness(Some(&state(header)), id);
    assert_eq!(random("ot=rv:123456789abcde;th:8"), 0x12_3456_789a_bcde);
    assert_eq!(random("ot=th:8"), 7);
    assert_eq!(random("ot=rv:123"), 7, "an invalid randomness is none");
    assert_eq!(randomness(None, id), 7);
}

#[test]
fn setting_a_threshold_keeps_everything_else() {
    for (before, after) in [
        ("", "ot=th:c"),
        ("ot=th:8", "ot=th:c"),
        ("ot=rv:123456789abcde", "ot=rv:123456789abcde;th:c"),
        ("ot=p:8;th:8;r:62", "ot=p:8;th:c;r:62"),
        ("ot=th:8;th:9", "ot=th:c"),
        ("ot=;;", "ot=th:c"),
        ("congo=t61rcWkgMzE,rojo=00f0", "ot=th:c,congo=t61rcWkgMzE,rojo=00f0"),
        ("congo=t61rcWkgMzE,ot=th:8,rojo=00f0", "ot=th:c,congo=t61rcWkgMzE,rojo=00f0"),
    ] {
        assert_eq!(with_threshold(Some(&state(before)), th("c")).header(), after, "{before:?}");
    }
    assert_eq!(with_threshold(None, th("c")).header(), "ot=th:c");
}

#[test]
fn what_does_not_change_is_left_where_it_was() {
    let before = state("congo=t61rcWkgMzE,ot=rv:123456789abcde;th:c,rojo=00f0");
    assert_eq!(with_threshold(Some(&before), th("c")), before);
    for header in ["", "a=1", "a=1,ot=rv:123456789abcde"] {
        assert_eq!(without_threshold(Some(&state(header))), state(header), "{header:?}");
    }
}

#[test]
fn erasing_a_threshold_keeps_everything_else() {
    for (before, after) in [
        ("ot=th:8", ""),
        ("a=1,ot=th:8,b=2", "a=1,b=2"),
        ("a=1,ot=p:8;th:8;rv:123456789abcde", "ot=p:8;rv:123456789abcde,a=1"),
    ] {
        assert_eq!(without_threshold(Some(&state(before))).header(), after, "{before:?}");
    }
    assert_eq!(without_threshold(None), TraceState::NONE);
}

#[test]
fn an_entry_that_would_be_too_long_loses_its_threshold() {
    let long = "x".repeat(MAX_VALUE - 3);
    let kept = with_threshold(Some(&state(&format!("ot=k:{long}1"))), th("c"));
    assert_eq!(kept.header(), format!("ot=k:{long}1"));
    let members = "x".repeat(MAX_VALUE - 7);
    let before = format!("ot=k:{members};th:8");
    let erased = with_threshold(Some(&state(&before)), th("123456789abcde"));
    assert_eq!(erased.header(), format!("ot=k:{members}"));
}

#[test]
fn a_full_state_loses_its_last_member_and_not_the_threshold() {
    let full: Vec<_> = (0..32).map(|n| format!("k{n}=v")).collect();
    let after = with_threshold(Some(&state(&full.join(","))), th("c")).header();
    assert_eq!(after, format!("ot=th:c,{}", full[..31].join(",")));
}
