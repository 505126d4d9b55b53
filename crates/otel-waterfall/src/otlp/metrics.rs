//! Metrics of OTLP JSON. Histograms and summaries are reduced to their mean.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Resource, read_resource,
    value::{Read, at, each, field, problem, read_attributes, read_number, read_text, read_time},
};
use crate::signals::{Instrument, MetricPoint, Signals};

/// The fields of a metric that have data points, and the kind that the page shows.
const KINDS: [(&str, &str); 5] = [
    ("gauge", "gauge"),
    ("sum", "sum"),
    ("histogram", "histogram"),
    ("exponentialHistogram", "histogram"),
    ("summary", "histogram"),
];

pub(super) fn read_metrics(document: &Value, signals: &mut Signals) -> Read<()> {
    each(document, "resourceMetrics", |of_resource| {
        let resource = read_resource(of_resource)?;
        each(of_resource, "scopeMetrics", |of_scope| {
            each(of_scope, "metrics", |of| read_metric(of, &resource, signals))
        })
    })
}

fn read_metric(of: &Value, resource: &Resource, signals: &mut Signals) -> Read<()> {
    for (key, kind) in KINDS {
        let Some(data) = field(of, key) else { continue };
        let instrument = Arc::new(Instrument {
            service: Arc::clone(&resource.service),
            name: read_text(of, "name")?,
            unit: read_text(of, "unit")?,
            description: read_text(of, "description")?,
            kind,
        });
        let points = each(data, "dataPoints", |of| {
            let value = if kind == "histogram" { read_mean(of)? } else { read_value(of)? };
            // A point without a recorded value has none.
            if let Some(value) = value {
                signals.points.push(MetricPoint {
                    instrument: Arc::clone(&instrument),
                    attributes: resource.series(read_attributes(of)?),
                    time: read_time(of, "timeUnixNano")?,
                    value,
                });
            }
            Ok(())
        });
        at(key, points)?;
    }
    Ok(())
}

fn read_value(of: &Value) -> Read<Option<f64>> {
    match field(of, "asInt") {
        Some(Value::String(text)) => match text.parse::<i64>() {
            Ok(number) => Ok(Some(number as f64)),
            Err(_) => at("asInt", problem("is not a whole number")),
        },
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number as f64)),
            None => at("asInt", problem("is not a whole number")),
        },
        None => read_double(of, "asDouble"),
    }
}

/// Reads a number; `NaN` and the infinities are strings in JSON, and have no place in a chart.
fn read_double(of: &Value, key: &str) -> Read<Option<f64>> {
    let number = match field(of, key) {
        None => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_f64(),
    };
    match number {
        Some(number) => Ok(Some(number).filter(|number| number.is_finite())),
        None => at(key, problem("is not a number")),
    }
}

fn read_mean(of: &Value) -> Read<Option<f64>> {
    let count = read_number(of, "count")?.unwrap_or(0);
    Ok(read_double(of, "sum")?.filter(|_| count > 0).map(|sum| sum / count as f64))
}
