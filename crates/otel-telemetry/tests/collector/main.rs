//! All three signals into a real OTLP collector, over gRPC and HTTP, compared with the collector's output. The collector is
//! Rotel or the OpenTelemetry Collector; they print the same lines with different names of enums.
//!
//! `cargo xtask services up collector` starts the collector. Without it the tests fail with a message.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod cut_off;
mod long;

use std::time::{Duration, Instant};

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use otel_telemetry::{Exporter, Telemetry};
use otel_testing::service;
use tracing_subscriber::layer::SubscriberExt;

const START: &str = "start the collector: `cargo xtask services up collector`";

fn setting(name: &str) -> String {
    service::setting(name, START)
}

/// Waits until the collector has printed all of these texts, and returns its output.
fn printed(texts: &[&str]) -> String {
    let file = setting("COLLECTOR_LOG");
    let start = Instant::now();
    loop {
        let log = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}; {START}"));
        let missing = texts.iter().find(|text| !log.contains(**text));
        match missing {
            None => return log,
            Some(text) => assert!(
                start.elapsed() < Duration::from_secs(20),
                "the collector never printed {text}, its log is {file}"
            ),
        }
        // Polls, because another process writes the file without a notification.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the record of a kind (`Span`, `Metric`, `LogRecord`) that contains a text, as printed by the collector,
/// with ids and times replaced, and the names of enums as the OpenTelemetry Collector prints them.
fn record(log: &str, kind: &str, text: &str, trace_id: &str) -> String {
    let at = log.find(text).unwrap();
    let start = log[..at].rfind(&format!("{kind} #")).unwrap();
    let mut rendered = String::new();
    for line in log[start..].lines() {
        let next = ["Resource", "Scope", "Span #", "Metric #", "LogRecord #", "20", "\t{"];
        if !rendered.is_empty() && next.iter().any(|begin| line.starts_with(begin)) {
            break;
        }
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        let key = key.trim();
        match (key, value) {
            _ if value == trace_id => rendered += &format!("{key}: (the trace)\n"),
            ("ID" | "Span ID", id) if id.len() == 16 => rendered += &format!("{key}: (a span)\n"),
            (key, _) if key.to_lowercase().contains("time") => {}
            ("EventName", _) => {}
            (key, _) if key.starts_with("Dropped") => {}
            (key, "") => rendered += &format!("{}\n", key.trim_end_matches(':').trim()),
            (key, value) => rendered += &format!("{key}: {}\n", enum_name(value)),
        }
    }
    rendered
}

/// Returns `Client` for Rotel's `SPAN_KIND_CLIENT`, and other values unchanged.
fn enum_name(value: &str) -> String {
    let prefixes = ["SPAN_KIND_", "STATUS_CODE_", "AGGREGATION_TEMPORALITY_", "SEVERITY_NUMBER_"];
    match prefixes.iter().find_map(|prefix| value.strip_prefix(prefix)) {
        Some(name) => name[..1].to_owned() + &name[1..].to_lowercase(),
        None => value.to_owned(),
    }
}

async fn round_trip(protocol: &str, endpoint: &str, compression: &str) {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let service = format!("it-{now}");
    let telemetry = Telemetry::builder()
        .with_env([
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_SERVICE_NAME", &service),
        ])
        .strict_env()
        .build()
        .unwrap();
    let tracer = telemetry.tracer_provider().tracer("it");
    let mut span = tracer
        .span_builder(format!("span of {service}"))
        .with_kind(SpanKind::Client)
        .with_attributes([KeyValue::new("answer", 42)])
        .start(&tracer);
    let trace_id = span.span_context().trace_id().to_string();
    span.set_status(Status::error("broken"));
    let cx = Context::new().with_span(span);
    let meter = telemetry.meter_provider().meter("it");
    let counter = meter.u64_counter(format!("counter.of.{service}")).build();
    counter.add(7, &[]);
    let subscriber = tracing_subscriber::registry().with(telemetry.log_layer());
    tracing::subscriber::with_default(subscriber, || {
        let _attached = cx.clone().attach();
        tracing::error!("log of {service}");
    });
    cx.span().end();

    let report = telemetry.shutdown().await;
    assert!(report.is_complete(), "{report}; {START}");
    assert_eq!((report.spans.accepted, report.logs.accepted), (1, 1));
    let [span, counter, log] = ["span of ", "counter.of.", "log of "].map(|of| format!("{of}{service}"));
    let service_name = format!("service.name: Str({service})");
    let printed = printed(&[&span, &counter, &log, &service_name]);
    let expected = "Span #0\nTrace ID: (the trace)\nParent ID\nID: (a span)\nName: NAME\nKind: Client\n\
                    Status code: Error\nStatus message: broken\nAttributes\n-> answer: Int(42)\n";
    assert_eq!(record(&printed, "Span", &span, &trace_id), expected.replace("NAME", &span));
    let expected = "Metric #0\nDescriptor\n-> Name: NAME\n-> Description\n-> Unit\n-> DataType: Sum\n\
                    -> IsMonotonic: true\n-> AggregationTemporality: Cumulative\n\
                    NumberDataPoints #0\nValue: 7\n";
    assert_eq!(record(&printed, "Metric", &counter, &trace_id), expected.replace("NAME", &counter));
    let expected = "LogRecord #0\nSeverityText: ERROR\nSeverityNumber: Error(17)\nBody: Str(NAME)\n\
                    Trace ID: (the trace)\nSpan ID: (a span)\nFlags: 1\n";
    assert_eq!(record(&printed, "LogRecord", &log, &trace_id), expected.replace("NAME", &log));
}

#[tokio::test]
async fn over_grpc() {
    round_trip("grpc", &setting("COLLECTOR_OTLP_GRPC_URL"), "none").await;
}

#[tokio::test]
async fn over_grpc_compressed() {
    round_trip("grpc", &setting("COLLECTOR_OTLP_GRPC_URL"), "gzip").await;
}

#[tokio::test]
async fn over_http() {
    round_trip("http/protobuf", &setting("COLLECTOR_OTLP_HTTP_URL"), "none").await;
}

#[tokio::test]
async fn over_http_compressed() {
    round_trip("http/protobuf", &setting("COLLECTOR_OTLP_HTTP_URL"), "gzip").await;
}

#[test]
fn metrics_at_the_interval_and_with_the_temporality_that_the_environment_says() {
    let name = format!("delta.of.{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let telemetry = Telemetry::builder()
        .with_exporters(Exporter::None)
        .with_env([
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*setting("COLLECTOR_OTLP_HTTP_URL")),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
        ])
        .strict_env()
        .build()
        .unwrap();
    telemetry.meter_provider().meter("it").u64_counter(name.clone()).build().add(7, &[]);
    // No call flushes, and the default interval of exports is one minute.
    let printed = printed(&[&name]);
    let counter = record(&printed, "Metric", &name, "");
    assert!(counter.contains("AggregationTemporality: Delta\n"), "{counter}");
}
