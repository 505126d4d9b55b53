//! The metrics about the export itself are the registry's, to the letter.
//!
//! The copy of the registry is read here: a dependency on otel-testing, which has a check of its own, would switch the
//! SDK's feature for bound instruments on, and a test of this crate has to see that this crate does so.

use opentelemetry_sdk::logs::InMemoryLogExporter;
use opentelemetry_sdk::metrics::InMemoryMetricExporter;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};
use serde_json::Value;

use crate::support::{end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

const REGISTRY: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../otel-testing/registry/semconv-1.44.json"));

/// The instrument, and the attributes of all series.
fn shape(metric: &Metric) -> (&'static str, Vec<String>) {
    fn sum<T: Copy>(data: &MetricData<T>) -> (&'static str, Vec<String>) {
        let MetricData::Sum(sum) = data else { panic!("not a sum") };
        let keys = sum.data_points().flat_map(|point| point.attributes().map(|kv| kv.key.to_string()));
        (if sum.is_monotonic() { "counter" } else { "updowncounter" }, keys.collect())
    }
    match metric.data() {
        AggregatedMetrics::U64(data) => sum(data),
        AggregatedMetrics::I64(data) => sum(data),
        AggregatedMetrics::F64(data) => sum(data),
    }
}

#[test]
fn names_units_instruments_and_descriptions_are_the_registrys() {
    let registry: Value = serde_json::from_str(REGISTRY).unwrap();
    let metrics = InMemoryMetricExporter::default();
    let (spans, reader) = (ScriptedExporter::new(ExporterBehavior::Fail), metrics.clone());
    let telemetry = quiet()
        .with_span_exporter(spans.clone())
        .with_log_exporter(InMemoryLogExporter::default())
        .map_meter_provider(|meters| meters.with_periodic_exporter(reader))
        .build()
        .unwrap();
    end_spans(&telemetry, 3);
    telemetry.tracer_provider().force_flush().unwrap_err();
    spans.set_behavior(ExporterBehavior::Accept);
    end_spans(&telemetry, 3);
    telemetry.tracer_provider().force_flush().unwrap();
    telemetry.meter_provider().force_flush().unwrap();

    let exports = metrics.get_finished_metrics().unwrap();
    let recorded: Vec<_> =
        exports.last().unwrap().scope_metrics().flat_map(|scope| scope.metrics()).collect();
    assert_eq!(recorded.len(), 8, "four of spans, four of logs");
    for metric in recorded {
        let list = registry["metrics"].as_array().unwrap();
        let registered = list.iter().find(|registered| registered["name"] == metric.name());
        let registered = registered.unwrap_or_else(|| panic!("{} is not in the registry", metric.name()));
        assert_eq!(registered["deprecated"], false, "{}", metric.name());
        assert_eq!(registered["unit"], metric.unit(), "{}", metric.name());
        assert_eq!(registered["brief"], metric.description(), "{}", metric.name());
        let (instrument, attributes) = shape(metric);
        assert_eq!(registered["instrument"], instrument, "{}", metric.name());
        assert!(!attributes.is_empty(), "{}", metric.name());
        for attribute in attributes {
            assert!(!registered["attributes"][&attribute].is_null(), "{attribute} of {}", metric.name());
        }
    }
}
