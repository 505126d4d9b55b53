//! OTLP JSON: the fields that are read, and the errors for invalid input.

use std::error::Error as _;

use opentelemetry::trace::{SpanKind, Status};
use otel_waterfall::{Error, Link, Span, Trace, from_otlp_json};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sample::shop;

/// A request in the form of OTLP's documentation, with every kind of value.
const REQUEST: &str = r#"{"resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
    "scopeSpans": [{"scope": {"name": "my.crate"}, "spans": [{
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173", "flags": 768, "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000, "kind": 2,
        "status": {"code": "STATUS_CODE_ERROR", "message": "no"}, "unknown": [1], "traceState": null,
        "attributes": [
            {"key": "text", "value": {"stringValue": "t"}}, {"key": "yes", "value": {"boolValue": true}},
            {"key": "int", "value": {"intValue": "-7"}}, {"key": "number", "value": {"intValue": 8}},
            {"key": "double", "value": {"doubleValue": 1.5}}, {"key": "nan", "value": {"doubleValue": "NaN"}},
            {"key": "bytes", "value": {"bytesValue": "aGk="}}, {"key": "nothing", "value": {}}, {"key": "none"},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "a"}]}}},
            {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": false}}]}}}],
        "events": [{"timeUnixNano": "1544712660500000000", "name": "half", "attributes": []}],
        "links": [{"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7"}]
    }]}]}]}"#;

#[test]
fn every_field_that_is_drawn_is_read() {
    let traces = from_otlp_json(REQUEST).expect("valid");
    let [Trace { spans, .. }] = &traces[..] else { panic!("{traces:?}") };
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(span.trace_id.to_string(), "5b8efff798038103d269b633813fc60c");
    assert_eq!(span.parent.map(|id| id.to_string()).as_deref(), Some("eee19b7ec3c1b173"));
    assert!(span.parent_is_remote);
    assert_eq!((&*span.service, &*span.name, &span.kind), ("shop", "I'm a server span", &SpanKind::Server));
    assert_eq!((span.start, span.end), (1_544_712_660_000_000_000, 1_544_712_661_000_000_000));
    assert_eq!(span.status, Status::error("no"));
    let attributes: Vec<String> =
        span.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let expected = "text=t yes=true int=-7 number=8 double=1.5 nan=NaN bytes=aGk= nothing= none= list=[1, a] map={k=false}";
    assert_eq!(attributes.join(" "), expected);
    assert_eq!((&*span.events[0].name, span.events[0].time), ("half", 1_544_712_660_500_000_000));
    assert_eq!(span.links[0].span_id.to_string(), "00f067aa0ba902b7");
}

#[test]
fn several_documents_make_one_trace() {
    let mut second: Value = serde_json::from_str(REQUEST).unwrap();
    second["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = json!("0000000000000001");
    let traces = from_otlp_json(&format!("{REQUEST}\n{second}\n")).expect("valid");
    assert_eq!(traces.iter().map(|trace| trace.spans.len()).collect::<Vec<_>>(), [2]);
    assert_eq!(from_otlp_json(r#"{"resourceSpans": []}"#).expect("valid"), []);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_document() {
    assert_eq!(from_otlp_json(&format!("\u{feff}{REQUEST}")).unwrap(), from_otlp_json(REQUEST).unwrap());
}

/// Returns the request with one field of its span replaced.
fn with(pointer: &str, value: Value) -> String {
    let mut request: Value = serde_json::from_str(REQUEST).unwrap();
    let span = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    *span.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    request.to_string()
}

#[test]
fn errors_name_the_place() {
    const SPAN: &str = "resourceSpans[0].scopeSpans[0].spans[0]";
    let cases = [
        ("/traceId", json!("abc"), "traceId: is not 32 hexadecimal digits"),
        ("/traceId", json!("zz8EFFF798038103D269B633813FC60C"), "traceId: is not 32 hexadecimal digits"),
        ("/traceId", json!("+58EFFF798038103D269B633813FC60C"), "traceId: is not 32 hexadecimal digits"),
        ("/traceId", json!("0".repeat(32)), "traceId: is all zeros"),
        ("/spanId", json!(""), "spanId: is not 16 hexadecimal digits"),
        ("/spanId", json!(7), "spanId: is not a string"),
        ("/parentSpanId", json!("x"), "parentSpanId: is not 16 hexadecimal digits"),
        (
            "/startTimeUnixNano",
            json!("-1"),
            "startTimeUnixNano: is not a whole number from 0 to 18446744073709551615",
        ),
        (
            "/endTimeUnixNano",
            json!(1.5),
            "endTimeUnixNano: is not a whole number from 0 to 18446744073709551615",
        ),
        ("/kind", json!("SERVER"), "kind: is not a span kind"),
        ("/status/code", json!([]), "status.code: is not a status code"),
        ("/attributes", json!({}), "attributes: is not an array"),
        ("/attributes/2", json!(1), "attributes[2]: is not an object"),
        (
            "/attributes/2/value/intValue",
            json!("seven"),
            "attributes[2].value.intValue: is of the wrong type",
        ),
        (
            "/attributes/9/value/arrayValue/values/1",
            json!({"boolValue": 1}),
            "attributes[9].value.arrayValue.values[1].boolValue: is of the wrong type",
        ),
        ("/events/0/name", json!(false), "events[0].name: is not a string"),
        ("/links/0/spanId", json!("00"), "links[0].spanId: is not 16 hexadecimal digits"),
    ];
    for (pointer, value, message) in cases {
        let error = from_otlp_json(&with(pointer, value)).expect_err(message);
        assert_eq!(error.to_string(), format!("{SPAN}.{message}"));
    }
    let second = format!("{REQUEST}\n{}", with("/spanId", json!(7)));
    let error = from_otlp_json(&second).expect_err("second document");
    assert_eq!(error.to_string(), format!("document 2: {SPAN}.spanId: is not a string"));
}

#[test]
fn other_texts_are_refused() {
    assert!(matches!(from_otlp_json(" \n"), Err(Error::Empty)));
    let error = from_otlp_json("{\n  \"resourceSpans\": [}").expect_err("not JSON");
    assert_eq!(
        (error.to_string(), error.source().unwrap().to_string()),
        ("not JSON".to_owned(), "expected value at line 2 column 21".to_owned())
    );
    for other in ["{}", "[]", "1", r#"{"data": []}"#] {
        let error = from_otlp_json(other).expect_err(other);
        assert_eq!(error.to_string(), "resourceSpans: is missing: this is not an OTLP trace document");
    }
    let nested = format!("{{\"resourceSpans\": {}", "[".repeat(100_000));
    assert!(matches!(from_otlp_json(&nested), Err(Error::Json { .. })));
}

fn attributes(of: &[(String, String)]) -> Vec<Value> {
    of.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

/// Returns a span in the form in which an exporter writes it.
fn encoded(span: &Span) -> Value {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    let status = match &span.status {
        Status::Unset => json!({}),
        Status::Ok => json!({"code": 1}),
        Status::Error { description } => json!({"code": 2, "message": description}),
    };
    let link = |link: &Link| json!({"traceId": link.trace_id.to_string(), "spanId": link.span_id.to_string(), "attributes": attributes(&link.attributes)});
    let events = span.events.iter().map(|event| {
        json!({"name": event.name, "timeUnixNano": event.time.to_string(), "attributes": attributes(&event.attributes)})
    });
    let encoded = json!({
        "traceId": span.trace_id.to_string(), "spanId": span.span_id.to_string(), "name": span.name, "kind": kind,
        "parentSpanId": span.parent.map(|id| id.to_string()).unwrap_or_default(),
        "flags": if span.parent_is_remote { 0x301 } else { 0x101 },
        "startTimeUnixNano": span.start.to_string(), "endTimeUnixNano": span.end.to_string(), "status": status,
        "attributes": attributes(&span.attributes), "events": events.collect::<Vec<_>>(),
        "links": span.links.iter().map(link).collect::<Vec<_>>(),
    });
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": &*span.service}}]});
    json!({"resource": resource, "scopeSpans": [{"spans": [encoded]}]})
}

#[test]
fn what_is_written_is_read_again() {
    let mut trace = shop();
    trace.spans[0].name = "evil \u{0}\u{202e}\"</script>".to_owned();
    let written = json!({"resourceSpans": trace.spans.iter().map(encoded).collect::<Vec<_>>()});
    for span in &mut trace.spans {
        span.resource = vec![("service.name".to_owned(), span.service.to_string())].into();
    }
    assert_eq!(from_otlp_json(&written.to_string()).expect("valid"), [trace]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[0-9a-fA-F]{0,33}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key =
            prop_oneof!["stringValue", "arrayValue", "kvlistValue", "values", "key", "value", "attributes"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(key, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = from_otlp_json(&text);
    }

    #[test]
    fn any_field_may_be_anything(
        pointer in prop_oneof![
            "/resourceSpans(/0(/resource|/scopeSpans(/0/spans)?)?)?",
            "/resourceSpans/0/scopeSpans/0/spans/0/(traceId|spanId|parentSpanId|flags|name|kind|status|events|links|attributes|startTimeUnixNano)",
            "/resourceSpans/0/scopeSpans/0/spans/0/attributes/[0-9]",
            "/resourceSpans/0/scopeSpans/0/spans/0/attributes/[0-7]/value",
        ],
        value in any_json(),
    ) {
        let mut request: Value = serde_json::from_str(REQUEST).unwrap();
        *request.pointer_mut(&pointer).expect("a field of the request") = value;
        match from_otlp_json(&request.to_string()) {
            Ok(traces) => for trace in traces {
                let _ = otel_waterfall::text(&trace, &otel_waterfall::Style::new().with_attributes(["*"]));
            },
            Err(error) => prop_assert!(error.to_string().starts_with("resourceSpans"), "{error}"),
        }
    }
}
