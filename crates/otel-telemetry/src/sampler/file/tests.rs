//! Tests of sampler files: the samplers that they describe, and the errors for invalid ones.

use std::fmt::Write as _;

use opentelemetry::trace::TraceId;

use super::super::Span;
use super::*;

fn document(sampler: &str) -> String {
    format!("{{\"file_format\": \"1.0\",\n \"tracer_provider\": {{\"sampler\":\n{sampler}}}}}")
}

fn parsed(sampler: &str) -> Sampler {
    parse(Path::new("sampling.json"), &document(sampler), "orders").unwrap()
}

fn error(text: &str) -> String {
    parse(Path::new("sampling.json"), text, "orders").unwrap_err().to_string()
}

/// Returns the decision about a root: `-` if it is dropped, else the `tracestate`.
fn decided(sampler: &Sampler, name: &str, kind: SpanKind, randomness: u128) -> String {
    let trace_id = TraceId::from(1 << 64 | randomness);
    let span = Span { parent: None, trace_id, name, kind: &kind, attributes: &[] };
    let result = sampler.decide(&span);
    match result.decision {
        opentelemetry_sdk::trace::SamplingDecision::RecordAndSample => result.trace_state.header(),
        _ => "-".to_owned(),
    }
}

#[test]
fn the_simple_samplers() {
    let roots = |sampler: &str| {
        let sampler = parsed(sampler);
        let decide = |randomness| decided(&sampler, "GET /", SpanKind::Server, randomness);
        [decide(0), decide(0x80_0000_0000_0000)]
    };
    assert_eq!(roots(r#"{"always_on": null}"#), ["", ""]);
    assert_eq!(roots(r#"{"always_on": {}}"#), ["", ""]);
    assert_eq!(roots(r#"{"always_off": null}"#), ["-", "-"]);
    assert_eq!(roots(r#"{"trace_id_ratio_based": {"ratio": 0.5}}"#), ["-", "ot=th:8"]);
    assert_eq!(roots(r#"{"probability/development": {"ratio": 0.5}}"#), ["-", "ot=th:8"]);
    assert_eq!(roots(r#"{"trace_id_ratio_based": null}"#), ["ot=th:0", "ot=th:0"]);
    assert_eq!(roots(r#"{"trace_id_ratio_based": {"ratio": null}}"#), ["ot=th:0", "ot=th:0"]);
    assert_eq!(roots(r#"{"parent_based": null}"#), ["", ""]);
    assert_eq!(roots(r#"{"parent_based": {"root": {"always_off": null}}}"#), ["-", "-"]);
    assert_eq!(roots(r#"{"composite/development": {"always_on": null}}"#), ["ot=th:0", "ot=th:0"]);
    assert_eq!(roots(r#"{"composite/development": {"rule_based": null}}"#), ["-", "-"]);
    assert_eq!(
        roots(
            r#"{"composite/development": {"parent_threshold": {"root": {"probability": {"ratio": 0.5}}}}}"#
        ),
        ["-", "ot=th:8"]
    );
    assert_eq!(roots(r#"{"adaptive": {"traces_per_second": 5}}"#), ["ot=th:0", "ot=th:0"]);
}

#[test]
fn rules_are_tried_in_their_order() {
    let sampler = parsed(
        r#"{"composite/development": {"rule_based": {"rules": [
            {"service": "users", "sampler": {"always_on": null}},
            {"span_name": "GET /health*", "sampler": {"always_off": null}},
            {"service": "ord*", "span_kinds": ["client", "producer"], "sampler": {"probability": {"ratio": 0.25}}},
            {"parent": ["remote", "local"], "sampler": {"always_on": null}},
            {"attribute_values": {"key": "a", "values": ["1"]}, "sampler": {"always_on": null}},
            {"attribute_patterns": {"key": "a", "included": ["1*"], "excluded": ["12"]},
             "sampler": {"always_on": null}},
            {"sampler": {"probability": {"ratio": 0.5}}}
        ]}}}"#,
    );
    let last = 0xff_ffff_ffff_ffff;
    assert_eq!(decided(&sampler, "GET /health/live", SpanKind::Server, last), "-");
    assert_eq!(decided(&sampler, "GET /users", SpanKind::Client, last), "ot=th:c");
    assert_eq!(decided(&sampler, "GET /users", SpanKind::Producer, last), "ot=th:c");
    assert_eq!(decided(&sampler, "GET /users", SpanKind::Server, last), "ot=th:8");
}

#[test]
fn the_rest_of_the_document_is_for_others() {
    let text = r#"{"file_format": "1.1", "disabled": false, "propagator": {"composite": []},
        "tracer_provider": {"processors": [], "sampler": {"always_on": null}}}"#;
    assert!(parse(Path::new("x"), text, "orders").is_ok());
}

#[test]
fn an_error_says_what_and_where() {
    let sampler = |text: &str| error(&document(text));
    let list = "expected at least one item";
    for (found, expected) in [
        (error(""), "sampling.json:1:0: EOF while parsing a value"),
        (
            error("{\n  \"file_format\": 1,"),
            "sampling.json:2:18: invalid type: integer `1`, expected a string",
        ),
        (
            error(r#"{"file_format": "0.4", "tracer_provider": {}}"#),
            "sampling.json:1:21: invalid value: string \"0.4\", expected a file_format of 1.x",
        ),
        (error(r#"{"file_format": "1.0"}"#), "sampling.json:1:22: missing field `tracer_provider`"),
        (
            error(r#"{"file_format": "1.0", "tracer_provider": {"samplers": 1}}"#),
            "sampling.json:1:57: missing field `sampler`",
        ),
        (
            sampler(r#"{"trace_id_ratio_based": {"ratio": 1.5}}"#),
            "sampling.json:3:39: invalid value: floating point `1.5`, expected a ratio from 0 to 1",
        ),
        (
            sampler(r#"{"trace_id_ratio_based": {"rate": 1}}"#),
            "sampling.json:3:32: unknown field `rate`, expected `ratio`",
        ),
        (
            sampler(r#"{"always_on": 1}"#),
            "sampling.json:3:15: invalid type: integer `1`, expected null or {}",
        ),
        (
            sampler(r#"{"adaptive": {"traces_per_second": 0}}"#),
            "sampling.json:3:37: invalid value: floating point `0.0`, expected more than 0 traces a second",
        ),
        (
            sampler(
                r#"{"composite/development": {"rule_based": {"rules": [
{"span_kinds": [], "sampler": {"always_on": null}}]}}}"#,
            ),
            &format!("sampling.json:4:17: invalid length 0, {list}"),
        ),
        (
            sampler(
                r#"{"composite/development": {"rule_based": {"rules": [
{"spankinds": ["client"], "sampler": {"always_on": null}}]}}}"#,
            ),
            "sampling.json:4:12: unknown field `spankinds`, expected one of",
        ),
        (
            sampler(r#"{"composite/development": {"rule_based": {"rules": [{"span_name": "x"}]}}}"#),
            "sampling.json:3:70: missing field `sampler`",
        ),
    ] {
        assert!(found.starts_with(expected), "\n   found {found}\nexpected {expected}");
    }
    let unknown = sampler(r#"{"alwayson": null}"#);
    assert!(
        unknown.contains("unknown variant `alwayson`, expected one of `always_on`, `always_off`"),
        "{unknown}"
    );
}

#[test]
fn a_deep_document_is_an_error() {
    let mut deep = String::new();
    for _ in 0..10_000 {
        let _ = write!(deep, r#"{{"parent_based": {{"root": "#);
    }
    assert!(error(&document(&deep)).contains("recursion limit exceeded"));
}

#[test]
fn the_readmes_file_is_one() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("```json\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let of = |service, name| {
        let sampler = parse(Path::new("README.md"), text, service).unwrap();
        decided(&sampler, name, SpanKind::Client, 0xff_ffff_ffff_ffff)
    };
    assert_eq!(of("checkout", "GET /healthz"), "-");
    assert_eq!(of("checkout", "GET /"), "ot=th:0", "always");
    assert_eq!(of("orders", "GET /"), "ot=th:0", "the first that `adaptive` sees");
}
