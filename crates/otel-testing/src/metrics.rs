//! Collected metrics: as values that assertions can ask for, and as text for snapshots.
//! Follows <https://opentelemetry.io/docs/specs/otel/metrics/data-model/> (cumulative sums, histograms, gauges).

use std::{collections::BTreeMap, fmt::Write as _};

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};

use crate::normalize;

/// The kind of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// A sum that also goes down.
    UpDownCounter,
    /// A value of its own at each reading.
    Gauge,
    /// A distribution, in explicit or exponential buckets.
    Histogram,
}

/// One metric, or the part of it that [`Metric::with`] selected. It is empty where nothing was recorded.
#[derive(Clone, Debug)]
pub struct Metric {
    name: String,
    unit: String,
    description: String,
    kind: Option<MetricKind>,
    points: Vec<Point>,
}

/// One series of a [`Metric`]: a set of attributes and what was recorded under it.
#[derive(Clone, Debug)]
pub struct Point {
    attributes: Vec<KeyValue>,
    count: u64,
    sum: f64,
    bounds: Vec<f64>,
}

impl Metric {
    pub(crate) fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: String::new(),
            description: String::new(),
            kind: None,
            points: Vec::new(),
        }
    }

    /// The name of the instrument.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit of the instrument, in UCUM, empty if there is none.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// The description of the instrument, empty if there is none.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The kind of the instrument; `None` where nothing was recorded.
    #[must_use]
    pub fn kind(&self) -> Option<MetricKind> {
        self.kind
    }

    /// Only the series that have this attribute with this value (and any others).
    #[must_use]
    pub fn with(mut self, key: impl Into<Key>, value: impl Into<Value>) -> Self {
        let (key, value) = (key.into(), value.into());
        self.points.retain(|point| point.attribute(key.as_str()) == Some(&value));
        self
    }

    /// Only the series that lack this attribute.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.points.retain(|point| point.attribute(key).is_none());
        self
    }

    /// The number of measurements in all selected series of a histogram; 0 for the other kinds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.points.iter().map(Point::count).sum()
    }

    /// The total over all selected series: a histogram's sum, a counter's value. In the metric's unit.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.points.iter().map(Point::sum).sum()
    }

    /// The selected series.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

impl Point {
    /// The attributes of the series, in no particular order.
    #[must_use]
    pub fn attributes(&self) -> &[KeyValue] {
        &self.attributes
    }

    /// The value of one attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| &kv.value)
    }

    /// The number of measurements in a histogram; 0 for the other kinds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A histogram's sum, or the value of a counter or gauge. In the metric's unit.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The upper bounds of an explicit histogram's buckets, in the metric's unit; empty for the other kinds.
    #[must_use]
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }
}

/// Everything that was collected, by name. Instruments of one name in several scopes are one metric here.
pub(crate) fn gather(collected: &ResourceMetrics) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::new();
    for metric in collected.scope_metrics().flat_map(|scope| scope.metrics()) {
        let (kind, points) = match metric.data() {
            AggregatedMetrics::F64(data) => points(data, |value| value),
            AggregatedMetrics::U64(data) => points(data, |value| value as f64),
            AggregatedMetrics::I64(data) => points(data, |value| value as f64),
        };
        let name = metric.name();
        let entry = metrics.entry(name.to_owned()).or_insert_with(|| Metric::empty(name));
        entry.unit = metric.unit().to_owned();
        entry.description = metric.description().to_owned();
        entry.kind = Some(kind);
        entry.points.extend(points);
    }
    metrics
}

fn points<T: Copy>(data: &MetricData<T>, number: fn(T) -> f64) -> (MetricKind, Vec<Point>) {
    let value = |attributes: Vec<KeyValue>, value: T| Point {
        attributes,
        count: 0,
        sum: number(value),
        bounds: Vec::new(),
    };
    match data {
        MetricData::Gauge(gauge) => (
            MetricKind::Gauge,
            gauge.data_points().map(|p| value(p.attributes().cloned().collect(), p.value())).collect(),
        ),
        MetricData::Sum(sum) => (
            if sum.is_monotonic() { MetricKind::Counter } else { MetricKind::UpDownCounter },
            sum.data_points().map(|p| value(p.attributes().cloned().collect(), p.value())).collect(),
        ),
        MetricData::Histogram(histogram) => (
            MetricKind::Histogram,
            histogram
                .data_points()
                .map(|p| Point {
                    attributes: p.attributes().cloned().collect(),
                    count: p.count(),
                    sum: number(p.sum()),
                    bounds: p.bounds().collect(),
                })
                .collect(),
        ),
        MetricData::ExponentialHistogram(histogram) => (
            MetricKind::Histogram,
            histogram
                .data_points()
                .map(|p| Point {
                    attributes: p.attributes().cloned().collect(),
                    count: p.count() as u64,
                    sum: number(p.sum()),
                    bounds: Vec::new(),
                })
                .collect(),
        ),
    }
}

/// Durations differ from run to run, so a sum in a unit of time is rendered as `TIME`.
pub(crate) fn render<'a>(metrics: impl IntoIterator<Item = &'a Metric>) -> String {
    let mut out = String::new();
    for metric in metrics {
        let kind = match metric.kind {
            Some(MetricKind::Counter) => "counter",
            Some(MetricKind::UpDownCounter) => "up-down counter",
            Some(MetricKind::Gauge) => "gauge",
            Some(MetricKind::Histogram) => "histogram",
            None => "nothing",
        };
        let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", metric.unit) };
        let _ = writeln!(out, "{} ({kind}{unit})", metric.name);
        let timed = matches!(metric.unit.as_str(), "s" | "ms" | "us" | "ns" | "min" | "h");
        let mut lines: Vec<String> = metric
            .points
            .iter()
            .map(|point| {
                let attributes: Vec<String> = normalize::sorted(&point.attributes)
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                let sum = if timed { "TIME".to_owned() } else { point.sum.to_string() };
                let value = match metric.kind {
                    Some(MetricKind::Histogram) => format!("count {}, sum {sum}", point.count),
                    _ => sum,
                };
                format!("    {{{}}} {value}", attributes.join(", "))
            })
            .collect();
        lines.sort();
        lines.iter().for_each(|line| {
            let _ = writeln!(out, "{line}");
        });
    }
    out
}
