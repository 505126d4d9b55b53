//! The reader for OTLP's protobuf messages, which the server receives.
//!
//! Follows [opentelemetry-proto](https://github.com/open-telemetry/opentelemetry-proto); a record with an invalid id
//! is left out and counted, so that the sender learns of it by a partial success.

use std::{fmt::Write, sync::Arc};

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord as ProtoLog, ResourceLogs},
    metrics::v1::{Metric, ResourceMetrics, metric::Data, number_data_point::Value as Number},
    resource::v1::Resource as ProtoResource,
    trace::v1::{ResourceSpans, Span as ProtoSpan},
};

use super::{Resource, parent_is_remote, service_of};
use crate::{
    model::{Event, Link, Span},
    signals::{Instrument, LogRecord, MetricPoint, Signals},
};

/// Maximum depth of a nested value; what is deeper is left out.
const MAX_DEPTH: usize = 16;

/// Reads spans; returns the number of those with an invalid id.
pub(crate) fn read_spans(resources: Vec<ResourceSpans>, signals: &mut Signals) -> u64 {
    let mut rejected = 0;
    for ResourceSpans { resource, scope_spans, .. } in resources {
        let resource = read_resource(resource);
        for of_scope in scope_spans {
            let scope = scope_name(of_scope.scope);
            for span in of_scope.spans {
                match read_span(span, &resource, &scope) {
                    Some(span) => signals.spans.push(span),
                    None => rejected += 1,
                }
            }
        }
    }
    rejected
}

pub(crate) fn read_logs(resources: Vec<ResourceLogs>, signals: &mut Signals) {
    for ResourceLogs { resource, scope_logs, .. } in resources {
        let service = read_resource(resource).service;
        for record in scope_logs.into_iter().flat_map(|of_scope| of_scope.log_records) {
            signals.logs.push(read_record(record, &service));
        }
    }
}

pub(crate) fn read_metrics(resources: Vec<ResourceMetrics>, signals: &mut Signals) {
    for ResourceMetrics { resource, scope_metrics, .. } in resources {
        let resource = read_resource(resource);
        for metric in scope_metrics.into_iter().flat_map(|of_scope| of_scope.metrics) {
            read_metric(metric, &resource, &mut signals.points);
        }
    }
}

fn read_resource(resource: Option<ProtoResource>) -> Resource {
    let attributes = resource.map_or_else(Vec::new, |resource| pairs(resource.attributes));
    Resource { service: service_of(&attributes), attributes: attributes.into() }
}

fn scope_name(scope: Option<InstrumentationScope>) -> Arc<str> {
    scope.map_or_else(Arc::default, |scope| scope.name.into())
}

fn read_span(from: ProtoSpan, resource: &Resource, scope: &Arc<str>) -> Option<Span> {
    let (trace_id, span_id) = (trace_id(&from.trace_id)?, span_id(&from.span_id)?);
    let mut span =
        Span::new(trace_id, span_id, from.name, from.start_time_unix_nano, from.end_time_unix_nano)
            .with_service(Arc::clone(&resource.service))
            .with_resource(Arc::clone(&resource.attributes))
            .with_scope(Arc::clone(scope))
            .with_kind(match from.kind {
                2 => SpanKind::Server,
                3 => SpanKind::Client,
                4 => SpanKind::Producer,
                5 => SpanKind::Consumer,
                _ => SpanKind::Internal,
            });
    span.parent = self::span_id(&from.parent_span_id);
    span.parent_is_remote = span.parent.is_some() && parent_is_remote(Some(from.flags.into()));
    if let Some(status) = from.status {
        span.status = match status.code {
            1 => Status::Ok,
            2 => Status::error(status.message),
            _ => Status::Unset,
        };
    }
    span.attributes = pairs(from.attributes);
    span.events = from
        .events
        .into_iter()
        .map(|event| Event {
            name: event.name,
            time: event.time_unix_nano,
            attributes: pairs(event.attributes),
        })
        .collect();
    span.links = from
        .links
        .into_iter()
        .filter_map(|link| {
            let (trace_id, span_id) = (self::trace_id(&link.trace_id)?, self::span_id(&link.span_id)?);
            Some(Link { trace_id, span_id, attributes: pairs(link.attributes) })
        })
        .collect();
    Some(span)
}

fn read_record(from: ProtoLog, service: &Arc<str>) -> LogRecord {
    let severity = u8::try_from(from.severity_number).unwrap_or(0);
    let level = match from.severity_text {
        text if text.is_empty() => LogRecord::level_of(severity).to_owned(),
        text => text,
    };
    LogRecord {
        time: if from.time_unix_nano == 0 { from.observed_time_unix_nano } else { from.time_unix_nano },
        severity,
        level,
        body: text_of(from.body),
        service: Arc::clone(service),
        attributes: pairs(from.attributes),
        trace_id: trace_id(&from.trace_id),
        span_id: span_id(&from.span_id),
    }
}

/// Attributes, time and value of a data point of any kind.
type RawPoint = (Vec<KeyValue>, u64, Option<f64>);

fn read_metric(from: Metric, resource: &Resource, points: &mut Vec<MetricPoint>) {
    let mean = |sum: Option<f64>, count: u64| sum.filter(|_| count > 0).map(|sum| sum / count as f64);
    let number = |value: Option<Number>| match value? {
        Number::AsDouble(value) => Some(value),
        Number::AsInt(value) => Some(value as f64),
    };
    let (kind, values): (_, Vec<RawPoint>) = match from.data {
        None => return,
        Some(Data::Gauge(data)) => (
            "gauge",
            data.data_points.into_iter().map(|p| (p.attributes, p.time_unix_nano, number(p.value))).collect(),
        ),
        Some(Data::Sum(data)) => (
            "sum",
            data.data_points.into_iter().map(|p| (p.attributes, p.time_unix_nano, number(p.value))).collect(),
        ),
        Some(Data::Histogram(data)) => (
            "histogram",
            data.data_points
                .into_iter()
                .map(|p| (p.attributes, p.time_unix_nano, mean(p.sum, p.count)))
                .collect(),
        ),
        Some(Data::ExponentialHistogram(data)) => (
            "histogram",
            data.data_points
                .into_iter()
                .map(|p| (p.attributes, p.time_unix_nano, mean(p.sum, p.count)))
                .collect(),
        ),
        Some(Data::Summary(data)) => (
            "histogram",
            data.data_points
                .into_iter()
                .map(|p| (p.attributes, p.time_unix_nano, mean(Some(p.sum), p.count)))
                .collect(),
        ),
    };
    let instrument = Arc::new(Instrument {
        service: Arc::clone(&resource.service),
        name: from.name,
        unit: from.unit,
        description: from.description,
        kind,
    });
    for (attributes, time, value) in values {
        // A value that is not finite has no place in a chart.
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let instrument = Arc::clone(&instrument);
            let attributes = resource.series(pairs(attributes));
            points.push(MetricPoint { instrument, attributes, time, value });
        }
    }
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    bytes.try_into().ok().map(TraceId::from_bytes).filter(|id| *id != TraceId::INVALID)
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    bytes.try_into().ok().map(SpanId::from_bytes).filter(|id| *id != SpanId::INVALID)
}

fn pairs(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    attributes.into_iter().map(|KeyValue { key, value, .. }| (key, text_of(value))).collect()
}

fn text_of(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(value) => {
            let mut out = String::new();
            write_value(&value, &mut out, 0);
            out
        }
        None => String::new(),
    }
}

fn write_value(value: &Value, out: &mut String, depth: usize) {
    if depth == MAX_DEPTH {
        out.push('…');
        return;
    }
    let inner = |out: &mut String, value: Option<&AnyValue>| {
        if let Some(value) = value.and_then(|value| value.value.as_ref()) {
            write_value(value, out, depth + 1);
        }
    };
    // A `String` accepts all that is written.
    let _ = match value {
        Value::StringValue(text) => out.write_str(text),
        Value::BoolValue(value) => write!(out, "{value}"),
        Value::IntValue(value) => write!(out, "{value}"),
        Value::DoubleValue(value) => write!(out, "{value}"),
        Value::BytesValue(bytes) => bytes.iter().take(256).try_for_each(|byte| write!(out, "{byte:02x}")),
        Value::StringValueStrindex(_) => Ok(()),
        Value::ArrayValue(array) => {
            out.push('[');
            for (number, value) in array.values.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                inner(out, Some(value));
            }
            out.push(']');
            Ok(())
        }
        Value::KvlistValue(list) => {
            out.push('{');
            for (number, pair) in list.values.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                out.push_str(&pair.key);
                out.push('=');
                inner(out, pair.value.as_ref());
            }
            out.push('}');
            Ok(())
        }
    };
}
