//! The page without a browser: its policy, its data as JSON, untrusted text. The folder `browser` tests the rest.

use opentelemetry::trace::{SpanId, Status, TraceId};
use otel_waterfall::{Event, Link, Page, Span, html};
use serde_json::Value;

use crate::sample::{START, shop, span, trace, trace_id};

/// The data that a page has for its script.
pub(crate) fn data(page: &str) -> Value {
    let from =
        page.split("<script type=\"application/json\" id=\"data\">").nth(1).expect("the page has data");
    let text = from.split("</script>").next().expect("the data end");
    assert!(!text.contains(['<', '>', '&']), "the data are inert");
    serde_json::from_str(text).expect("the data are JSON")
}

#[test]
fn the_page_needs_nothing_else() {
    let page = html(&[shop()]);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    let namespace = "http://www.w3.org/2000/svg";
    let page = page.replace(namespace, "");
    for outside in ["http:", "https:", "src=", "@import", "url(//", "url('"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<script").count(), 2, "the data and the script");
}

#[test]
fn the_policy_permits_one_script_and_no_network() {
    let page = html(&[]);
    let policy = page.split("content=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a policy");
    let directives: Vec<_> = policy.split("; ").collect();
    assert_eq!(directives[0], "default-src 'none'");
    assert!(directives[1].starts_with("script-src 'sha256-") && directives[1].matches("sha256").count() == 1);
    assert!(directives[2].starts_with("style-src 'sha256-"));
    for directive in [
        "img-src data:",
        "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "trusted-types 'none'",
    ] {
        assert!(directives.contains(&directive), "{directive}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn a_trace_in_full() {
    let data = data(&html(&[shop()]));
    let trace = &data["traces"][0];
    assert_eq!(trace["id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace["t"], START / 1_000);
    assert_eq!((&trace["d"], &trace["n"], &trace["errors"]), (&95_000_000.into(), &7.into(), &1.into()));
    assert_eq!(trace["name"], "POST /orders");
    assert_eq!(trace["services"], serde_json::json!(["shop", "stock", "mailer"]));
    assert_eq!(
        trace["error"],
        serde_json::json!({"name": "SELECT stock", "text": "timeout: lock wait exceeded"})
    );
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 7);
    assert_eq!(
        spans[0],
        serde_json::json!({
            "i": "0000000000000003", "p": "0000000000000002", "n": "SELECT stock", "s": 1, "r": 0, "k": 2,
            "t": 16_000_000, "d": 62_000_000, "e": "timeout: lock wait exceeded",
            "a": [["error.type", "timeout"], ["db.system.name", "postgresql"]],
            "ev": [["row locked", 40_000_000, [["rows", "1"], ["mode", "x"]]]],
        })
    );
    let edges: Vec<_> =
        trace["edges"].as_array().unwrap().iter().map(|edge| edge[1].as_str().unwrap()).collect();
    assert_eq!(edges, ["stock", "postgresql", "mailer"]);
}

#[test]
fn everything_untrusted_is_inert() {
    let evil = "</script><script>alert(\"1\")</script>' onload='x' & \u{202e}\u{0}";
    let page = html(&[trace([span(1, evil, 0, 10)
        .with_service(evil)
        .with_resource([(evil.to_owned(), evil.to_owned())])
        .with_scope(evil)
        .with_status(Status::error(evil))
        .with_attribute(evil, evil)
        .with_event(Event::new(evil, START).with_attribute(evil, evil))
        .with_link(Link::new(trace_id(), SpanId::from(1)).with_attribute(evil, evil))])]);
    assert_eq!(page.matches("<script").count(), 2);
    assert!(!page.contains(['\u{0}', '\u{202e}']));
    let span = &data(&page)["traces"][0]["spans"][0];
    let shown = evil.replace('\u{202e}', "\\u{202e}").replace('\u{0}', "\\u{0}");
    for text in [
        &span["n"],
        &span["o"],
        &span["a"][0][0],
        &span["a"][0][1],
        &span["ev"][0][0],
        &span["l"][0][2][0][1],
    ] {
        assert_eq!(*text, *shown);
    }
}

#[test]
fn a_large_trace_is_complete() {
    let data = data(&html(&[trace((1..=10_000).map(|id| span(id, "x", id, id + 1)))]));
    assert_eq!(data["traces"][0]["spans"].as_array().unwrap().len(), 10_000);
}

#[test]
fn extreme_times_are_numbers() {
    let at = |start, end| Span::new(TraceId::from(1), SpanId::from(start | 1), "x", start, end);
    let data = data(&html(&[trace([at(0, u64::MAX), at(u64::MAX, 0), at(500, 200)])]));
    assert_eq!(data["traces"][0]["d"], u64::MAX);
    assert_eq!(data["traces"][0]["spans"][2]["back"], 300);
}

#[test]
fn no_traces() {
    assert_eq!(data(&html(&[]))["traces"], serde_json::json!([]));
}

const LOGS: &str = r#"{"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
  "scopeLogs": [{"logRecords": [
    {"timeUnixNano": "2000000", "severityNumber": 17, "body": {"stringValue": "it broke"},
     "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "0000000000000003",
     "attributes": [{"key": "order", "value": {"intValue": "4711"}}]},
    {"observedTimeUnixNano": "3000000", "severityNumber": "SEVERITY_NUMBER_WARN2", "body": {"stringValue": "</script>"},
     "traceId": "", "spanId": ""}]}]}]}"#;

const METRICS: &str = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [
  {"name": "requests", "unit": "1", "sum": {"dataPoints": [
    {"timeUnixNano": "1000", "asInt": "3"}, {"timeUnixNano": "2000", "asDouble": 4.5}, {"timeUnixNano": "3000", "asDouble": "NaN"}]}},
  {"name": "duration", "unit": "s", "histogram": {"dataPoints": [{"timeUnixNano": "1000", "count": "4", "sum": 2.0}, {"count": 0}]}}]}]}]}"#;

#[test]
fn log_records_and_metrics() {
    let mut page = Page::new().with_traces([shop()]);
    page.add_otlp_json(&format!("{LOGS}\n{METRICS}\n{{}}")).unwrap();
    let data = data(&page.html());
    assert_eq!(
        data["logs"],
        serde_json::json!([
            {"t": 2_000, "severity": 17, "level": "ERROR", "service": "shop", "body": "it broke",
             "trace": "0af7651916cd43dd8448eb211c80319c", "span": "0000000000000003", "a": [["order", "4711"]]},
            {"t": 3_000, "severity": 14, "level": "WARN", "service": "shop", "body": "</script>", "a": []},
        ])
    );
    assert_eq!(
        data["metrics"],
        serde_json::json!([
            {"kind": "sum", "name": "requests", "unit": "1", "description": "", "service": "",
             "series": [{"a": [], "points": [[1, 3], [2, 4.5]]}]},
            {"kind": "histogram", "name": "duration", "unit": "s", "description": "", "service": "",
             "series": [{"a": [], "points": [[1, 0.5]]}]},
        ])
    );
}

/// One point of a sum that a process exports, with its attributes in this order.
fn exported(instance: &str, time: u32, attributes: [&str; 2]) -> String {
    let pair =
        |key: &str, value: &str| format!(r#"{{"key": "{key}", "value": {{"stringValue": "{value}"}}}}"#);
    let resource = pair("service.instance.id", instance);
    let attributes = attributes.map(|key| pair(key, "x")).join(", ");
    format!(
        r#"{{"resourceMetrics": [{{"resource": {{"attributes": [{resource}]}}, "scopeMetrics": [{{"metrics": [
          {{"name": "requests", "sum": {{"dataPoints": [{{"timeUnixNano": "{time}000", "asInt": "1", "attributes": [{attributes}]}}]}}}}]}}]}}]}}"#
    )
}

#[test]
fn a_series_is_one_instance_with_its_attributes_in_any_order() {
    let mut page = Page::new();
    for document in
        [exported("i1", 1, ["a", "b"]), exported("i1", 2, ["b", "a"]), exported("i2", 1, ["b", "a"])]
    {
        page.add_otlp_json(&document).unwrap();
    }
    let series = |instance: &str, points: serde_json::Value| serde_json::json!({"a": [["a", "x"], ["b", "x"], ["service.instance.id", instance]], "points": points});
    assert_eq!(
        data(&page.html())["metrics"][0]["series"],
        serde_json::json!([
            series("i1", serde_json::json!([[1, 1], [2, 1]])),
            series("i2", serde_json::json!([[1, 1]])),
        ])
    );
}

#[test]
fn spans_of_a_trace_are_joined() {
    let document = r#"{"resourceSpans": [{"scopeSpans": [{"scope": {"name": "lib"}, "spans": [
        {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00000000000000ff", "name": "late"}]}]}]}"#;
    let mut page = Page::new().with_traces([shop()]);
    page.add_otlp_json(document).unwrap();
    assert_eq!(page.traces().iter().map(|trace| trace.spans.len()).collect::<Vec<_>>(), [8]);
    assert_eq!(&*page.traces()[0].spans[7].scope, "lib");
}

#[test]
fn a_document_that_is_not_otlp() {
    let problem = |text: &str| Page::new().add_otlp_json(text).unwrap_err().to_string();
    assert_eq!(
        problem(r#"{"spans": []}"#),
        "document: has no resourceSpans, resourceLogs or resourceMetrics: this is not OTLP JSON"
    );
    let at = "resourceLogs[0].scopeLogs[0].logRecords[0]";
    let log = |record: &str| {
        problem(&format!(r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{record}]}}]}}]}}"#))
    };
    assert_eq!(log(r#"{"traceId": "12"}"#), format!("{at}.traceId: is not 32 hexadecimal digits"));
    assert_eq!(
        log(r#"{"severityNumber": true}"#).split(": ").next().unwrap(),
        format!("{at}.severityNumber")
    );
    let metric = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{"asInt": "x"}]}}]}]}]}"#;
    assert_eq!(
        problem(metric),
        "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].asInt: is not a whole number"
    );
}
