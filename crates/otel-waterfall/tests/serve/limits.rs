//! Input that a client made large, slow, or broken.

use std::io::Write;

use http::StatusCode;
use otel_waterfall::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{attribute, export, get, post, span, start};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let running = start(Server::new()).await;
    // Not read to its end: the answer comes while the client still sends.
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 90000000\r\n\r\n",
        running.http
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b' '; 64 << 10];
    let mut answer = [0; 12];
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        // The server closes the connection early.
        while writer.write_all(&chunk).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = reader.read_exact(&mut answer) => { read.unwrap(); }
        () = sending => {}
    }
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_bomb_is_not_inflated() {
    let running = start(Server::new()).await;
    let bomb = gzip(&vec![0; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    let answer = post(running.http, "/v1/traces", &[PROTOBUF, GZIP], bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn millions_of_empty_spans_are_refused_before_they_are_decoded() {
    let running = start(Server::new()).await;
    // Two bytes for each span; the lengths of the three messages around them have four bytes.
    let length = |length: usize| {
        let byte = |shift: usize| ((length >> shift) & 0x7f) as u8;
        [byte(0) | 0x80, byte(7) | 0x80, byte(14) | 0x80, byte(21)]
    };
    let spans = [0x12, 0].repeat(2_000_000);
    let scope_spans = [&[0x12][..], &length(spans.len()), &spans].concat();
    let resource_spans = [&[0x0a][..], &length(scope_spans.len()), &scope_spans].concat();
    let answer = post(running.http, "/v1/traces", &[PROTOBUF, GZIP], gzip(&resource_spans)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn millions_of_objects_of_json_are_refused_before_they_are_parsed() {
    let running = start(Server::new()).await;
    for (repeated, last) in [(r#"{"":0},"#, r#"{"":0}"#), ("[],", "[]"), ("0,", "0")] {
        let body = format!(r#"{{"resourceSpans":[],"":[{}{last}]}}"#, repeated.repeat(2_000_000));
        let answer = post(running.http, "/v1/traces", &[JSON, GZIP], gzip(body.as_bytes())).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{repeated}");
        assert!(answer.text().contains("too many records and attributes"), "{}", answer.text());
    }
}

/// A request of JSON with spans of ten attributes.
fn json_of(spans: u64) -> String {
    let attributes: Vec<_> = (0..10)
        .map(|key| serde_json::json!({"key": format!("attribute.{key}"), "value": {"stringValue": "a value of usual length"}}))
        .collect();
    let spans: Vec<_> = (1..=spans)
        .map(|id| {
            serde_json::json!({
                "traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "name": "GET /orders/{id}", "kind": 2,
                "startTimeUnixNano": "1000000", "endTimeUnixNano": "3000000", "attributes": attributes, "status": {},
            })
        })
        .collect();
    let resource =
        serde_json::json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    let of_scope = serde_json::json!({"scope": {"name": "tests"}, "spans": spans});
    serde_json::json!({"resourceSpans": [{"resource": resource, "scopeSpans": [of_scope]}]}).to_string()
}

#[tokio::test]
async fn ten_batches_of_a_processor_in_one_request_of_json_are_accepted() {
    let running = start(Server::new()).await;
    // The batch processor of an SDK sends 512 spans by default.
    let answer = post(running.http, "/v1/traces", &[JSON], json_of(5_120)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(running.server.facts().starts_with("5120 spans received"), "{}", running.server.facts());
}

#[tokio::test]
async fn long_names_of_services_and_scopes_are_cut() {
    use opentelemetry_proto::tonic::{
        collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::InstrumentationScope,
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans},
    };
    use prost::Message;
    let running = start(Server::new()).await;
    let long = "x".repeat(1 << 20);
    let resource =
        Some(Resource { attributes: vec![attribute("service.name", &long)], ..Resource::default() });
    let scope = Some(InstrumentationScope { name: long.clone(), ..InstrumentationScope::default() });
    let scope_spans = vec![ScopeSpans { scope, spans: vec![span(1, 1, "a")], ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: resource.clone(), scope_spans, ..ResourceSpans::default() }];
    let traces = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default()], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    let logs = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let json = json_of(2).replace("shop", &long).replace("tests", &long);
    let json = json.replace(&format!("{:032x}", 1), &format!("{:032x}", 3));
    for (path, encoding, body) in [
        ("/v1/traces", PROTOBUF, traces),
        ("/v1/traces", JSON, json.into_bytes()),
        ("/v1/logs", PROTOBUF, logs),
    ] {
        assert_eq!(post(running.http, path, &[encoding], body).await.status, StatusCode::OK, "{path}");
    }
    let length = |text: &serde_json::Value| text.as_str().unwrap().len();
    for id in 1..=3 {
        let trace = get(running.http, &format!("/trace/{id:032x}")).await.json();
        assert_eq!(length(&trace["services"][0]), 1024, "the service of trace {id}");
        assert_eq!(length(&trace["spans"][0]["o"]), 1024, "the scope of trace {id}");
        assert_eq!(length(&trace["resources"][0][0][1]), 1024, "the resource of trace {id}");
    }
    let changes = get(running.http, "/changes?after=0").await.json();
    assert_eq!(length(&changes["logs"][0]["service"]), 1024);
}

#[tokio::test]
async fn a_deeply_nested_value_is_cut() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value::Value};
    let running = start(Server::new()).await;
    let mut value = AnyValue { value: Some(Value::BoolValue(true)) };
    for _ in 0..40 {
        value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let mut one = span(1, 1, "x");
    one.attributes = vec![attribute("deep", "")];
    one.attributes[0].value = Some(value);
    assert_eq!(post(running.http, "/v1/traces", &[PROTOBUF], export(vec![one])).await.status, StatusCode::OK);
    let trace = get(running.http, &format!("/trace/{:032x}", 1)).await.json();
    assert_eq!(trace["spans"][0]["a"][0][1], format!("{}…{}", "[".repeat(16), "]".repeat(16)));
}

#[tokio::test]
async fn the_oldest_traces_are_forgotten() {
    let running = start(Server::new().with_max_bytes(0)).await;
    let text = "x".repeat(1_000);
    for batch in 0..40_u128 {
        let spans = (1..=100_u128).map(|number| {
            let mut one = span(batch * 100 + number, 1, "x");
            one.attributes = vec![attribute("text", &text)];
            one
        });
        let answer = post(running.http, "/v1/traces", &[PROTOBUF], export(spans.collect())).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let facts = running.server.facts();
    assert!(facts.starts_with("4000 spans received") && facts.contains(" in 0 MiB"), "{facts}");
    assert_eq!(get(running.http, &format!("/trace/{:032x}", 1)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(running.http, &format!("/trace/{:032x}", 4_000)).await.status, StatusCode::OK);
}
