//! A metric exporter that prints a table.
//!
//! Implements a push metric exporter,
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk/#push-metric-exporter>.

use std::fmt::{Display, Write};
use std::time::Duration;

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

/// Prints all metrics of a service to the standard output.
#[derive(Debug)]
pub(crate) struct Console;

impl PushMetricExporter for Console {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        print!("{}", table(metrics));
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn table(metrics: &ResourceMetrics) -> String {
    let service = metrics.resource().get(&Key::from_static_str("service.name"));
    let mut out = format!("metrics of {}\n", service.as_ref().map_or("unknown".into(), |name| name.as_str()));
    let mut all: Vec<_> = metrics.scope_metrics().flat_map(|scope| scope.metrics()).collect();
    all.sort_by_key(|metric| metric.name());
    for metric in all {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {} [{}]", metric.name(), metric.unit());
        let mut lines = lines(metric);
        lines.sort();
        for (attributes, value) in lines {
            let _ = writeln!(out, "    {value:<20}  {attributes}");
        }
    }
    out.push('\n');
    out
}

/// Formats the attributes and the value of each series.
fn lines(metric: &Metric) -> Vec<(String, String)> {
    match metric.data() {
        AggregatedMetrics::F64(data) => series(data, |sum, count| format!("{:.4}", sum / count)),
        AggregatedMetrics::U64(data) => series(data, |sum, count| format!("{:.0}", sum as f64 / count)),
        AggregatedMetrics::I64(data) => series(data, |sum, count| format!("{:.0}", sum as f64 / count)),
    }
}

fn series<T: Copy + Display>(data: &MetricData<T>, mean: fn(T, f64) -> String) -> Vec<(String, String)> {
    match data {
        MetricData::Gauge(gauge) => {
            gauge.data_points().map(|point| (join(point.attributes()), point.value().to_string())).collect()
        }
        MetricData::Sum(sum) => {
            sum.data_points().map(|point| (join(point.attributes()), point.value().to_string())).collect()
        }
        MetricData::Histogram(histogram) => histogram
            .data_points()
            .map(|point| {
                let mean = mean(point.sum(), point.count() as f64);
                (join(point.attributes()), format!("{:>3} × mean {mean}", point.count()))
            })
            .collect(),
        MetricData::ExponentialHistogram(histogram) => histogram
            .data_points()
            .map(|point| {
                let mean = mean(point.sum(), point.count() as f64);
                (join(point.attributes()), format!("{:>3} × mean {mean}", point.count()))
            })
            .collect(),
    }
}

fn join<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut pairs: Vec<_> = attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    pairs.sort();
    pairs.join(" ")
}
