//! The suite's cases of the `traceparent` header.

use crate::support::{SPAN_ID, TRACE_ID, call};

fn continues(traceparent: &str) {
    let sent = call(&[("traceparent", traceparent)]);
    assert_eq!(sent.trace_id, TRACE_ID, "{traceparent:?}");
    assert_ne!(sent.span_id, SPAN_ID, "{traceparent:?}");
}

fn restarts(traceparent: &str) {
    let sent = call(&[("traceparent", traceparent)]);
    for old in traceparent.split('-').filter(|part| part.len() > 4) {
        assert_ne!(sent.trace_id, old, "{traceparent:?}");
    }
    assert_ne!(sent.trace_id, TRACE_ID, "{traceparent:?}");
}

#[test]
fn both_traceparent_and_tracestate_missing() {
    assert_eq!(call(&[]).tracestate, None);
}

#[test]
fn traceparent_included_tracestate_missing() {
    continues("00-12345678901234567890123456789012-1234567890123456-01");
}

#[test]
fn traceparent_duplicated() {
    let sent = call(&[
        ("traceparent", "00-12345678901234567890123456789011-1234567890123456-01"),
        ("traceparent", "00-12345678901234567890123456789012-1234567890123456-01"),
    ]);
    assert_ne!(sent.trace_id, "12345678901234567890123456789011");
    assert_ne!(sent.trace_id, TRACE_ID);
}

#[test]
fn traceparent_header_name() {
    for name in ["trace-parent", "trace.parent"] {
        let sent = call(&[(name, "00-12345678901234567890123456789012-1234567890123456-01")]);
        assert_ne!(sent.trace_id, TRACE_ID, "{name}");
    }
}

#[test]
fn traceparent_header_name_valid_casing() {
    for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        let sent = call(&[(name, "00-12345678901234567890123456789012-1234567890123456-01")]);
        assert_eq!(sent.trace_id, TRACE_ID, "{name}");
    }
}

#[test]
fn traceparent_version_0x00() {
    restarts("00-12345678901234567890123456789012-1234567890123456-01.");
    restarts("00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like");
}

#[test]
fn traceparent_version_0xcc() {
    continues("cc-12345678901234567890123456789012-1234567890123456-01");
    continues("cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like");
    restarts("cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like");
}

#[test]
fn traceparent_version_0xff() {
    restarts("ff-12345678901234567890123456789012-1234567890123456-01");
}

#[test]
fn traceparent_version_illegal_characters() {
    restarts(".0-12345678901234567890123456789012-1234567890123456-01");
    restarts("0.-12345678901234567890123456789012-1234567890123456-01");
}

#[test]
fn traceparent_version_too_long() {
    restarts("000-12345678901234567890123456789012-1234567890123456-01");
    restarts("0000-12345678901234567890123456789012-1234567890123456-01");
}

#[test]
fn traceparent_version_too_short() {
    restarts("0-12345678901234567890123456789012-1234567890123456-01");
}

#[test]
fn traceparent_trace_id_all_zero() {
    restarts("00-00000000000000000000000000000000-1234567890123456-01");
}

#[test]
fn traceparent_trace_id_illegal_characters() {
    restarts("00-.2345678901234567890123456789012-1234567890123456-01");
    restarts("00-1234567890123456789012345678901.-1234567890123456-01");
}

#[test]
fn traceparent_trace_id_too_long() {
    let traceparent = "00-123456789012345678901234567890123-1234567890123456-01";
    restarts(traceparent);
    assert_ne!(call(&[("traceparent", traceparent)]).trace_id, "23456789012345678901234567890123");
}

#[test]
fn traceparent_trace_id_too_short() {
    restarts("00-1234567890123456789012345678901-1234567890123456-01");
}

#[test]
fn traceparent_parent_id_all_zero() {
    restarts("00-12345678901234567890123456789012-0000000000000000-01");
}

#[test]
fn traceparent_parent_id_illegal_characters() {
    restarts("00-12345678901234567890123456789012-.234567890123456-01");
    restarts("00-12345678901234567890123456789012-123456789012345.-01");
}

#[test]
fn traceparent_parent_id_too_long() {
    restarts("00-12345678901234567890123456789012-12345678901234567-01");
}

#[test]
fn traceparent_parent_id_too_short() {
    restarts("00-12345678901234567890123456789012-123456789012345-01");
}

#[test]
fn traceparent_trace_flags_illegal_characters() {
    restarts("00-12345678901234567890123456789012-1234567890123456-.0");
    restarts("00-12345678901234567890123456789012-1234567890123456-0.");
}

#[test]
fn traceparent_trace_flags_too_long() {
    restarts("00-12345678901234567890123456789012-1234567890123456-001");
}

#[test]
fn traceparent_trace_flags_too_short() {
    restarts("00-12345678901234567890123456789012-1234567890123456-1");
}

#[test]
fn traceparent_ows_handling() {
    continues(" 00-12345678901234567890123456789012-1234567890123456-01");
    continues("\t00-12345678901234567890123456789012-1234567890123456-01");
    continues("00-12345678901234567890123456789012-1234567890123456-01 ");
    continues("00-12345678901234567890123456789012-1234567890123456-01\t");
    continues("\t 00-12345678901234567890123456789012-1234567890123456-01 \t");
}

/// Not in the suite; the text says lower case.
#[test]
fn traceparent_upper_case_digits() {
    restarts("00-ABCDEF78901234567890123456789012-1234567890123456-01");
    restarts("00-12345678901234567890123456789012-ABCDEF7890123456-01");
    restarts("00-12345678901234567890123456789012-1234567890123456-0A");
    restarts("CC-12345678901234567890123456789012-1234567890123456-01");
}

/// Not in the suite; a version's prefix ends with a dash, and a later version is cut off at a dash only.
#[test]
fn traceparent_separators() {
    restarts("00_12345678901234567890123456789012-1234567890123456-01");
    restarts("00-12345678901234567890123456789012_1234567890123456-01");
    restarts("00-12345678901234567890123456789012-1234567890123456_01");
    restarts("00-12345678901234567890123456789012-1234567890123456-01-");
    continues("01-12345678901234567890123456789012-1234567890123456-01-");
    restarts("cc-12345678901234567890123456789012-1234567890123456-0");
    restarts("cc-12345678901234567890123456789012-1234567890123456-0-");
    restarts("cc-12345678901234567890123456789012-1234567890123456-01,");
}
