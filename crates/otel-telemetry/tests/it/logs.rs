//! The bridge from `tracing`, in both directions.

use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::logs::AnyValue;
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::logs::InMemoryLogExporter;
use otel_telemetry::BatchOptions;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::quiet;
use otel_testing::{ExporterBehavior, ScriptedExporter};

#[test]
fn events_carry_the_ids_of_the_span_that_is_current() {
    let logs = InMemoryLogExporter::default();
    let telemetry = quiet().with_log_exporter(logs.clone()).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.log_layer());
    let tracer = telemetry.tracer_provider().tracer("test");
    let cx = Context::new().with_span(tracer.start("span"));
    tracing::subscriber::with_default(subscriber, || {
        let _attached = cx.clone().attach();
        tracing::warn!(orders = 3, "something");
    });
    telemetry.logger_provider().force_flush().unwrap();
    let records = logs.get_emitted_logs().unwrap();
    assert_eq!(records.len(), 1);
    let record = &records[0].record;
    let ids = record.trace_context().unwrap();
    assert_eq!(ids.trace_id, cx.span().span_context().trace_id());
    assert_eq!(ids.span_id, cx.span().span_context().span_id());
    assert_eq!(record.severity_text(), Some("WARN"));
    assert!(matches!(record.body(), Some(AnyValue::String(body)) if body.as_str() == "something"));
}

#[test]
fn details_of_the_sdk_are_kept_out_and_its_warnings_are_not() {
    let logs = InMemoryLogExporter::default();
    let telemetry = quiet().with_log_exporter(logs.clone()).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.log_layer());
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "opentelemetry_sdk", "built");
        tracing::debug!(target: "opentelemetry-http", "sent");
        tracing::warn!(target: "opentelemetry_sdk", "overflow");
        tracing::info!(target: "opentelemetry_demo", "an application");
    });
    telemetry.logger_provider().force_flush().unwrap();
    let records = logs.get_emitted_logs().unwrap();
    let targets: Vec<_> = records.iter().filter_map(|log| log.record.target().cloned()).collect();
    assert_eq!(targets, ["opentelemetry_sdk", "opentelemetry_demo"]);
    assert_eq!(telemetry.log_counts().ended, 2);
}

#[test]
fn tracing_spans_and_ours_nest_in_both_directions() {
    let spans = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet().with_span_exporter(spans.clone()).build().unwrap();
    let tracer = telemetry.tracer_provider().tracer("test");
    let subscriber = tracing_subscriber::registry().with(telemetry.span_layer());
    tracing::subscriber::with_default(subscriber, || {
        tracer.in_span("outer", |_| {
            tracing::info_span!("middle").in_scope(|| tracer.in_span("inner", |_| {}));
        });
    });
    telemetry.tracer_provider().force_flush().unwrap();
    let spans = spans.spans();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (outer, middle, inner) = (find("outer"), find("middle"), find("inner"));
    assert_eq!(middle.parent_span_id, outer.span_context.span_id());
    assert_eq!(inner.parent_span_id, middle.span_context.span_id());
}

#[test]
fn the_environment_tunes_their_batches() {
    let logs = InMemoryLogExporter::default();
    let hour = Duration::from_secs(3600);
    let telemetry = quiet()
        .with_log_exporter(logs.clone())
        .with_log_batch(BatchOptions::for_logs().with_schedule_delay(hour))
        .with_env([("OTEL_BLRP_SCHEDULE_DELAY", "10")])
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.log_layer());
    tracing::subscriber::with_default(subscriber, || tracing::warn!("something"));
    // No call flushes, and the delay from code is an hour.
    let began = Instant::now();
    while logs.get_emitted_logs().unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", telemetry.log_counts());
        std::thread::yield_now();
    }
}
