//! OTLP in each of its encodings, and the data that the page reads.

use std::io::Write;

use http::StatusCode;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceResponse,
    },
    common::v1::{AnyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point},
};
use otel_waterfall::Server;
use prost::Message;

use crate::client::{TRACES, attribute, call, export, frame, get, post, span, start};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_encoding_arrives() {
    let running = start(Server::new()).await;
    let message = |number: u64| export(vec![span(number.into(), number, "GET /")]);
    let http = running.http;
    assert_eq!(post(http, "/v1/traces", &[PROTOBUF], message(1)).await.status, StatusCode::OK);
    let answer = post(http, "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], gzip(&message(2))).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000003","spanId":"0000000000000003","name":"GET /"}]}]}]}"#;
    let answer = post(http, "/v1/traces", &[JSON], json).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "{}"));
    // Both ports have both protocols.
    for (number, address) in [(4, running.grpc), (5, running.http)] {
        let answer = call(address, TRACES, &[], frame(0, &message(number))).await;
        assert_eq!((answer.status, &answer.trailers["grpc-status"]), (StatusCode::OK, &"0".parse().unwrap()));
        assert_eq!(&answer.body[..], [0; 5]);
    }
    let answer = call(running.grpc, TRACES, &[("grpc-encoding", "gzip")], frame(1, &gzip(&message(6)))).await;
    assert_eq!(answer.trailers["grpc-status"], "0");

    let changes = get(http, "/changes?after=0").await.json();
    let ids: Vec<_> =
        changes["traces"].as_array().unwrap().iter().map(|trace| trace["id"].as_str().unwrap()).collect();
    assert_eq!(ids, (1..=6).map(|number| format!("{number:032x}")).collect::<Vec<_>>());
    assert!(running.server.facts().starts_with("6 spans received, 6 traces kept"));
}

#[tokio::test]
async fn a_trace_has_its_spans() {
    let running = start(Server::new()).await;
    let mut one = span(7, 1, "GET /");
    one.attributes = vec![attribute("http.route", "/")];
    post(running.http, "/v1/traces", &[PROTOBUF], export(vec![one])).await;
    let trace = get(running.http, &format!("/trace/{:032x}", 7)).await.json();
    let expected = serde_json::json!([{
        "i": "0000000000000001", "s": 0, "r": 0, "k": 1, "t": 0, "d": 2_000_000, "n": "GET /",
        "a": [["http.route", "/"]],
    }]);
    assert_eq!(trace["spans"], expected);
    assert_eq!(trace["resources"], serde_json::json!([[["service.name", "shop"]]]));
    for unknown in ["00000000000000000000000000000008", "x", ""] {
        assert_eq!(get(running.http, &format!("/trace/{unknown}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn logs_and_metrics_arrive() {
    let running = start(Server::new()).await;
    let record = LogRecord {
        time_unix_nano: 5_000,
        severity_number: 17,
        body: Some(AnyValue { value: Some(Value::StringValue("it broke".to_owned())) }),
        trace_id: 7_u128.to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    let method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let answer = call(running.grpc, method, &[], frame(0, &request.encode_to_vec())).await;
    assert_eq!(answer.trailers["grpc-status"], "0");

    let point = |value| NumberDataPoint {
        time_unix_nano: 5_000,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let gauge = Gauge { data_points: vec![point(2.5), point(f64::NAN)] };
    let metric =
        Metric { name: "depth".to_owned(), data: Some(metric::Data::Gauge(gauge)), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics };
    assert_eq!(
        post(running.http, "/v1/metrics", &[PROTOBUF], request.encode_to_vec()).await.status,
        StatusCode::OK
    );

    let changes = get(running.http, "/changes?after=0").await.json();
    assert_eq!(
        changes["logs"],
        serde_json::json!([{"t": 5, "severity": 17, "level": "ERROR", "service": "", "body": "it broke",
            "trace": "00000000000000000000000000000007", "a": []}])
    );
    assert_eq!(changes["metrics"][0]["series"], serde_json::json!([{"a": [], "points": [[5, 2.5]]}]));
}

#[tokio::test]
async fn a_span_with_an_invalid_id_is_rejected() {
    let running = start(Server::new()).await;
    let mut invalid = span(1, 1, "x");
    invalid.span_id = vec![1, 2, 3];
    let answer = post(running.http, "/v1/traces", &[PROTOBUF], export(vec![invalid, span(1, 2, "x")])).await;
    let partial = ExportTraceServiceResponse::decode(answer.body).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_spans, &*partial.error_message), (1, "trace or span ids are not valid"));
    assert_eq!(get(running.http, "/changes?after=0").await.json()["traces"][0]["n"], 1);
}

#[tokio::test]
async fn what_is_not_otlp_is_refused() {
    let running = start(Server::new()).await;
    let refused = async |headers: &[(&str, &str)], body: &'static [u8]| {
        let answer = post(running.http, "/v1/traces", headers, body).await;
        (answer.status.as_u16(), answer.text().trim().to_owned())
    };
    let unknown = (415, "the Content-Type is neither application/x-protobuf nor application/json".to_owned());
    assert_eq!(refused(&[], b"").await, unknown);
    assert_eq!(refused(&[("content-type", "text/plain")], b"{}").await, unknown);
    assert_eq!(refused(&[JSON], b"{").await.0, 400);
    assert_eq!(refused(&[PROTOBUF], b"\xff\xff").await.0, 400);
    assert_eq!(refused(&[PROTOBUF, ("content-encoding", "br")], b"").await.0, 415);
    assert_eq!(
        refused(&[PROTOBUF, ("content-encoding", "gzip")], b"no").await.1,
        "the body is not valid gzip"
    );
    assert_eq!(get(running.http, "/v1/traces").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(running.http, "/changes?after=x").await.status, StatusCode::BAD_REQUEST);
    let status = async |method: &str, headers: &[(&str, &str)], frame: Vec<u8>| {
        call(running.grpc, method, headers, frame).await.headers["grpc-status"].to_str().unwrap().to_owned()
    };
    assert_eq!(status("/other.Service/Call", &[], frame(0, b"")).await, "12");
    assert_eq!(status(TRACES, &[], vec![0, 0, 0, 0, 9, 1]).await, "3");
    assert_eq!(status(TRACES, &[], frame(1, b"x")).await, "12", "compressed without an encoding");
    assert_eq!(status(TRACES, &[("grpc-encoding", "gzip")], frame(1, b"x")).await, "3");
}
