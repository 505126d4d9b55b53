//! Baggage entries of a list on spans and log records.

use opentelemetry::baggage::BaggageExt;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::logs::InMemoryLogExporter;

use crate::support::quiet;
use otel_testing::{ExporterBehavior, ScriptedExporter};

#[test]
fn only_what_is_listed_is_copied() {
    let spans = ScriptedExporter::new(ExporterBehavior::Accept);
    let logs = InMemoryLogExporter::default();
    let telemetry = quiet()
        .with_baggage_attributes(["tenant", "absent"])
        .with_span_exporter(spans.clone())
        .with_log_exporter(logs.clone())
        .build()
        .unwrap();
    let cx = Context::new().with_baggage([KeyValue::new("tenant", "a"), KeyValue::new("secret", "b")]);
    let tracer = telemetry.tracer_provider().tracer("test");
    drop(tracer.start_with_context("span", &cx));
    {
        let _attached = cx.attach();
        let logger = telemetry.logger_provider().logger("test");
        let mut record = logger.create_log_record();
        record.set_body("text".into());
        logger.emit(record);
    }
    telemetry.tracer_provider().force_flush().unwrap();
    telemetry.logger_provider().force_flush().unwrap();

    let exported = spans.spans();
    assert_eq!(exported[0].attributes, [KeyValue::new("tenant", "a")]);
    let records = logs.get_emitted_logs().unwrap();
    let attributes: Vec<_> = records[0].record.attributes_iter().collect();
    assert_eq!(attributes.len(), 1);
    assert_eq!(attributes[0].0.as_str(), "tenant");
    assert!(matches!(&attributes[0].1, AnyValue::String(value) if value.as_str() == "a"));
}
