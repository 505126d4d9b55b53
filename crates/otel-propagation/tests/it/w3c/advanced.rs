//! The suite's `AdvancedTest` and its cases of level 2.

use std::collections::HashSet;

use crate::support::{TRACE_ID, call, calls};

fn ids(headers: &[(&str, &str)]) -> (HashSet<String>, HashSet<String>) {
    let sent = calls(headers, 3);
    (
        sent.iter().map(|sent| sent.trace_id.clone()).collect(),
        sent.into_iter().map(|sent| sent.span_id).collect(),
    )
}

#[test]
fn multiple_requests_with_valid_traceparent() {
    let (traces, spans) = ids(&[("traceparent", "00-12345678901234567890123456789012-1234567890123456-01")]);
    assert_eq!(traces, HashSet::from([TRACE_ID.to_owned()]));
    assert_eq!(spans.len(), 3);
}

#[test]
fn multiple_requests_without_traceparent() {
    let (_, spans) = ids(&[]);
    assert_eq!(spans.len(), 3);
}

#[test]
fn multiple_requests_with_illegal_traceparent() {
    let (traces, spans) = ids(&[("traceparent", "00-00000000000000000000000000000000-1234567890123456-01")]);
    assert!(!traces.contains("00000000000000000000000000000000"));
    assert_eq!(spans.len(), 3);
}

/// Level 2.
#[test]
fn propagates_random_flag() {
    let sent = call(&[("traceparent", "00-12345678901234567890123456789012-1234567890123456-02")]);
    assert_eq!((sent.trace_id.as_str(), sent.flags.as_str()), (TRACE_ID, "02"));
    let sent = call(&[("traceparent", "00-12345678901234567890123456789012-1234567890123456-03")]);
    assert_eq!((sent.trace_id.as_str(), sent.flags.as_str()), (TRACE_ID, "03"));
}

/// Level 2.
#[test]
fn does_not_make_up_the_random_flag() {
    let sent = call(&[("traceparent", "00-12345678901234567890123456789012-1234567890123456-01")]);
    assert_eq!((sent.trace_id.as_str(), sent.flags.as_str()), (TRACE_ID, "01"));
    assert_eq!(call(&[]).flags, "01");
}
