//! The metrics about the export itself, and recording through bound instruments.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::InMemoryMetricExporter;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use otel_telemetry::{BatchOptions, Exporter, Signal, Telemetry};

use crate::support::{Hanging, end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

fn telemetry(exporter: &ScriptedExporter, options: BatchOptions) -> (Telemetry, InMemoryMetricExporter) {
    let metrics = InMemoryMetricExporter::default();
    let reader = metrics.clone();
    let telemetry = quiet()
        .with_span_exporter(exporter.clone())
        .with_span_batch(options)
        .map_meter_provider(|meters| meters.with_periodic_exporter(reader))
        .with_shutdown_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    (telemetry, metrics)
}

/// Returns the unsigned sums of a metric in the last export, as pairs of `error.type` and value.
fn sums(metrics: &InMemoryMetricExporter, name: &str) -> Vec<(String, u64)> {
    let exports = metrics.get_finished_metrics().unwrap();
    let mut sums = Vec::new();
    let found = exports
        .last()
        .unwrap()
        .scope_metrics()
        .flat_map(|scope| scope.metrics())
        .filter(|metric| metric.name() == name);
    for metric in found {
        let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { panic!("{metric:?}") };
        for point in sum.data_points() {
            let error = point.attributes().find(|kv| kv.key.as_str() == "error.type");
            sums.push((error.map(|kv| kv.value.to_string()).unwrap_or_default(), point.value()));
        }
    }
    sums.sort();
    sums
}

#[test]
fn what_was_dropped_is_a_metric_by_reason() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Fail);
    let hour = Duration::from_secs(3600);
    let options =
        BatchOptions::for_spans().with_max_queue_size(10).with_schedule_delay(hour).with_export_timeout(hour);
    let (telemetry, metrics) = telemetry(&exporter, options);
    // The queue holds ten, which is a full batch: an export that hangs keeps the worker busy, so that no further
    // record is taken.
    exporter.set_behavior(ExporterBehavior::Hang);
    end_spans(&telemetry, 10);
    while telemetry.span_counts().pending > 0 && exporter.largest_batch() == 0 {
        std::thread::yield_now();
    }
    end_spans(&telemetry, 13);
    telemetry.meter_provider().force_flush().unwrap();
    let processed = "otel.sdk.processor.span.processed";
    let dropped = sums(&metrics, processed).into_iter().find(|(error, _)| error == "queue_full").unwrap();
    let counts = telemetry.span_counts();
    assert_eq!(dropped.1, counts.dropped.queue_full);
    assert!(dropped.1 >= 3, "{counts:?}");
    assert_eq!(counts.pending + counts.dropped.queue_full, 23);
}

#[test]
fn what_was_exported_is_a_metric_by_outcome() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Fail);
    let (telemetry, metrics) = telemetry(&exporter, BatchOptions::for_spans());
    end_spans(&telemetry, 3);
    assert!(telemetry.tracer_provider().force_flush().is_err());
    exporter.set_behavior(ExporterBehavior::Accept);
    end_spans(&telemetry, 5);
    telemetry.tracer_provider().force_flush().unwrap();
    telemetry.meter_provider().force_flush().unwrap();
    let exported = sums(&metrics, "otel.sdk.exporter.span.exported");
    assert_eq!(exported, [(String::new(), 5), ("_OTHER".to_owned(), 3)]);
}

/// With the feature of the API enabled and that of the SDK disabled, these measurements would be lost silently.
#[test]
fn bound_instruments_record() {
    let (telemetry, metrics) =
        telemetry(&ScriptedExporter::new(ExporterBehavior::Accept), BatchOptions::for_spans());
    let counter = telemetry.meter_provider().meter("test").u64_counter("bound").build();
    counter.bind(&[KeyValue::new("a", "b")]).add(2);
    telemetry.meter_provider().force_flush().unwrap();
    assert_eq!(sums(&metrics, "bound"), [(String::new(), 2)]);
}

#[test]
fn an_export_of_metrics_ends_with_its_own_timeout() {
    let collector = Hanging::start();
    let telemetry = quiet()
        .with_exporter(Signal::Metrics, Exporter::Otlp)
        .with_metric_export(Duration::from_secs(3600), Duration::from_secs(3600))
        .with_env([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*format!("http://{}", collector.address)),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "20"),
        ])
        .with_shutdown_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    telemetry.meter_provider().meter("test").u64_counter("counted").build().add(1, &[]);
    // Without the timeout this test would wait for an hour.
    telemetry.meter_provider().force_flush().unwrap_err();
}
