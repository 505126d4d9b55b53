//! The metrics and attributes that our crates emit, under the names that the Collector's Prometheus exporter gives them.
//!
//! Follows [Prometheus compatibility, "OTLP Metric points to
//! Prometheus"](https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus).

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;
use serde_json::Value;
use yaml_rust2::Yaml;

use crate::tidy::{
    deploy::documents,
    tree::{File, Tree},
};

const CONVENTIONS: &str = "docs/conventions.md";
const REGISTRY: &str = "crates/otel-testing/registry/semconv-1.44.json";
const COLLECTOR: &str = "deploy/compose/collector/config.yaml";

/// The metrics of Prometheus, of its exporter and of [the Collector
/// itself](https://opentelemetry.io/docs/collector/internal-telemetry/) that dashboards and rules may use.
const FOREIGN: &[&str] = &[
    "up",
    "target_info",
    "otelcol_receiver_accepted_spans",
    "otelcol_receiver_refused_spans",
    "otelcol_exporter_sent_spans",
    "otelcol_exporter_send_failed_spans",
    "otelcol_processor_tail_sampling_global_count_traces_sampled",
    "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early",
];

/// Labels of Prometheus and its exporter, of span metrics, and of the Collector's own metrics.
const FOREIGN_LABELS: &[&str] = &[
    "job",
    "instance",
    "le",
    "severity",
    "alertname", // Prometheus
    "span_name",
    "span_kind",
    "status_code", // span metrics
    "receiver",
    "exporter",
    "sampled", // the Collector
];

/// The names by which Prometheus knows our telemetry.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Emitted {
    /// Reads the project's own names, the registry's names that occur in the sources of a crate, and the connector for span metrics
    /// in the configuration of the Collector.
    pub(super) fn read(tree: &Tree) -> Self {
        let mut emitted = Self::default();
        emitted.metrics.extend(FOREIGN.iter().map(|name| (*name).to_owned()));
        emitted.labels.extend(FOREIGN_LABELS.iter().map(|name| (*name).to_owned()));
        if let Some(file) = tree.file(CONVENTIONS) {
            emitted.add_conventions(file);
        }
        let registry = tree.file(REGISTRY).and_then(|file| serde_json::from_str::<Value>(&file.text).ok());
        emitted.add_registry(&registry.unwrap_or_default(), &Literals::read(tree));
        for document in tree.file(COLLECTOR).into_iter().flat_map(documents) {
            emitted.add_span_metrics(&document);
        }
        emitted
    }

    pub(super) fn has_metric(&self, name: &str) -> bool {
        self.metrics.contains(name)
    }

    pub(super) fn has_label(&self, name: &str) -> bool {
        self.labels.contains(name)
    }

    /// Rows `| name | kind | unit | reason |`.
    fn add_conventions(&mut self, file: &File) {
        for (_, line) in file.lines() {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            if let [_, name, kind, unit, ..] = cells[..]
                && name.contains('.')
            {
                match kind {
                    "attribute" => self.add_label(name),
                    "counter" | "gauge" | "histogram" | "up-down counter" => self.add(name, kind, unit),
                    _ => {}
                }
            }
        }
    }

    fn add_registry(&mut self, registry: &Value, literals: &Literals<'_>) {
        for metric in registry["metrics"].as_array().into_iter().flatten() {
            let text = |key: &str| metric[key].as_str().unwrap_or_default();
            if literals.make(text("name")) {
                self.add(text("name"), text("instrument"), text("unit"));
            }
        }
        for name in registry["attributes"].as_object().into_iter().flatten().map(|(name, _)| name) {
            self.add_label(name);
        }
    }

    /// Follows [the connector's
    /// documentation](https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/spanmetricsconnector):
    /// the names are those of its default namespace.
    fn add_span_metrics(&mut self, collector: &Yaml) {
        for (name, connector) in collector["connectors"].as_hash().into_iter().flatten() {
            if name.as_str().is_some_and(|name| name.split('/').next() == Some("span_metrics")) {
                let unit = connector["histogram"]["unit"].as_str().unwrap_or("ms");
                self.add("traces.span.metrics.calls", "counter", "");
                self.add("traces.span.metrics.duration", "histogram", unit);
            }
        }
    }

    fn add_label(&mut self, attribute: &str) {
        self.labels.insert(attribute.replace('.', "_"));
    }

    fn add(&mut self, name: &str, kind: &str, unit: &str) {
        self.metrics.extend(prometheus(name, kind, unit));
    }
}

/// The series of a metric. A unit in braces is a comment, which the exporter leaves out.
fn prometheus(name: &str, kind: &str, unit: &str) -> Vec<String> {
    let mut base = name.replace('.', "_");
    let unit = match unit {
        "s" => "seconds",
        "ms" => "milliseconds",
        "By" => "bytes",
        "1" if kind == "gauge" => "ratio",
        _ => "",
    };
    if !unit.is_empty() && !base.split('_').any(|part| part == unit) {
        base = format!("{base}_{unit}");
    }
    match kind {
        "counter" => vec![format!("{base}_total")],
        "histogram" => ["bucket", "count", "sum"].map(|series| format!("{base}_{series}")).to_vec(),
        _ => vec![base],
    }
}

/// The text literals of the crates' sources, by file.
struct Literals<'a>(Vec<BTreeSet<&'a str>>);

#[expect(clippy::unwrap_used, reason = "a constant expression, which the tests compile")]
static LITERAL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""([a-z_.{}]+)""#).unwrap());

impl<'a> Literals<'a> {
    fn read(tree: &'a Tree) -> Self {
        let is_ours = |file: &&File| {
            file.path.starts_with("crates/")
                && file.path.contains("/src/")
                && !file.path.starts_with("crates/otel-testing/")
        };
        let files = tree.sources().filter(is_ours);
        let literals = |file: &'a File| {
            LITERAL.captures_iter(&file.text).filter_map(|found| Some(found.get(1)?.as_str()))
        };
        Self(files.map(|file| literals(file).collect()).collect())
    }

    /// Returns true if a file has the name, or a format such as `"http.{side}.{name}"` and the texts in place of its parameters.
    fn make(&self, name: &str) -> bool {
        self.0.iter().any(|file| {
            let formats = file.iter().filter(|literal| literal.contains('{') && literal.contains('.'));
            file.contains(name) || formats.into_iter().any(|format| fits(format, name, file))
        })
    }
}

fn fits(format: &str, name: &str, literals: &BTreeSet<&str>) -> bool {
    let Some((before, rest)) = format.split_once('{') else { return format == name };
    let (Some((_, after)), Some(name)) = (rest.split_once('}'), name.strip_prefix(before)) else {
        return false;
    };
    literals
        .iter()
        .filter_map(|literal| name.strip_prefix(*literal))
        .any(|remaining| fits(after, remaining, literals))
}

#[cfg(test)]
mod tests {
    use super::{COLLECTOR, CONVENTIONS, Emitted, REGISTRY, prometheus};
    use crate::tidy::tree::tree;

    #[test]
    fn a_metric_has_the_name_of_the_exporter() {
        assert_eq!(prometheus("saga.recoveries", "counter", "{saga}"), ["saga_recoveries_total"]);
        assert_eq!(prometheus("saga.oldest.age", "gauge", "s"), ["saga_oldest_age_seconds"]);
        assert_eq!(prometheus("otel.sdk.span.live", "updowncounter", "{span}"), ["otel_sdk_span_live"]);
        assert_eq!(prometheus("queue.seconds", "gauge", "s"), ["queue_seconds"]);
        let expected = ["a_size_bytes_bucket", "a_size_bytes_count", "a_size_bytes_sum"];
        assert_eq!(prometheus("a.size", "histogram", "By"), expected);
    }

    #[test]
    fn names_are_those_of_the_documents_and_of_the_code() {
        let registry = r#"{"metrics": [
            {"name": "http.server.request.duration", "instrument": "histogram", "unit": "s"},
            {"name": "http.server.open_connections", "instrument": "updowncounter", "unit": "{connection}"},
            {"name": "db.client.connection.max", "instrument": "updowncounter", "unit": "{connection}"}],
            "attributes": {"http.route": ["string"]}}"#;
        let source = r#"//! Metrics.
            fn new() { new("server", format!("http.{side}.{name}"), "request.duration", "db.client.connection.max") }"#;
        let conventions =
            "| `saga.name` | attribute | | Its name. |\n| `saga.retries` | counter | `{retry}` | No. |\n";
        let emitted = Emitted::read(&tree(&[
            (REGISTRY, registry),
            ("crates/otel-http/src/metrics.rs", source),
            (CONVENTIONS, conventions),
            (COLLECTOR, "connectors: {span_metrics: {histogram: {unit: s}}}\n"),
        ]));
        for name in [
            "http_server_request_duration_seconds_count",
            "db_client_connection_max",
            "saga_retries_total",
            "traces_span_metrics_calls_total",
            "traces_span_metrics_duration_seconds_bucket",
            "up",
        ] {
            assert!(emitted.has_metric(name), "{name}");
        }
        for name in ["http_server_open_connections", "http_server_request_duration_count", "saga_retries"] {
            assert!(!emitted.has_metric(name), "{name}");
        }
        assert!(emitted.has_label("http_route") && emitted.has_label("saga_name") && emitted.has_label("le"));
        assert!(!emitted.has_label("http_path"));
    }
}
