//! Traces, log records and metrics as the JSON that the page reads; times of spans are relative to their trace.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use opentelemetry::trace::SpanKind;

use super::{
    json::{array, pairs, string},
    summary::Summary,
};
use crate::{
    layout::Layout,
    model::{Event, Link, Span, Trace},
    signals::{LogRecord, MetricStore},
};

/// Writes the summary of a trace, with all its spans if `spans` is true. `number` is the trace's position in the order
/// of arrival, which only a server counts.
pub(crate) fn trace(out: &mut String, trace: &Trace, summary: &Summary, number: u64, spans: bool) {
    let _ = write!(
        out,
        r#"{{"id":"{}","q":{number},"t":{},"d":{},"n":{},"errors":{},"notKept":{},"continued":{},"name":"#,
        trace.id,
        summary.start / 1_000,
        summary.duration,
        trace.spans.len(),
        summary.errors,
        trace.not_kept,
        trace.continued,
    );
    string(out, &summary.name);
    out.push_str(",\"services\":");
    array(out, &summary.services, |out, service| string(out, service));
    if let Some((name, text)) = &summary.error {
        out.push_str(",\"error\":{\"name\":");
        string(out, name);
        out.push_str(",\"text\":");
        string(out, text);
        out.push('}');
    }
    out.push_str(",\"edges\":");
    array(out, &summary.edges, |out, (from, to, calls)| {
        out.push('[');
        string(out, from);
        out.push(',');
        string(out, to);
        let _ = write!(out, ",[{},{},", calls.count, calls.errors);
        array(out, &calls.durations, |out, duration| {
            let _ = write!(out, "{duration}");
        });
        out.push_str("]]");
    });
    if spans {
        all_spans(out, trace, summary);
    }
    out.push('}');
}

fn all_spans(out: &mut String, trace: &Trace, summary: &Summary) {
    let services: HashMap<&str, usize> =
        summary.services.iter().enumerate().map(|(number, service)| (&**service, number)).collect();
    let mut resources = Resources::default();
    out.push_str(",\"spans\":");
    array(out, &trace.spans, |out, one| {
        let service = services.get(&*one.service).copied().unwrap_or(0);
        span(out, one, summary.start, service, resources.number(&one.resource));
    });
    out.push_str(",\"resources\":");
    array(out, resources.all, |out, resource| pairs(out, &resource));
}

/// The different resources of a trace. Most spans share the allocation of the one before them.
#[derive(Default)]
struct Resources {
    all: Vec<Arc<[(String, String)]>>,
    by_address: HashMap<*const (String, String), usize>,
}

impl Resources {
    fn number(&mut self, resource: &Arc<[(String, String)]>) -> usize {
        let all = &mut self.all;
        // The pointers stay valid keys, because the trace holds the resources meanwhile.
        *self.by_address.entry(resource.as_ptr()).or_insert_with(|| {
            all.iter().position(|known| known == resource).unwrap_or_else(|| {
                all.push(Arc::clone(resource));
                all.len() - 1
            })
        })
    }
}

fn span(out: &mut String, span: &Span, origin: u64, service: usize, resource: usize) {
    let _ = write!(
        out,
        r#"{{"i":"{}","s":{service},"r":{resource},"k":{},"t":{},"d":{}"#,
        span.span_id,
        kind(&span.kind),
        span.start.saturating_sub(origin),
        span.duration(),
    );
    if let Some(parent) = span.parent {
        let _ = write!(out, r#","p":"{parent}""#);
        if span.parent_is_remote {
            out.push_str(",\"rp\":1");
        }
    }
    if span.end < span.start {
        let _ = write!(out, ",\"back\":{}", span.start - span.end);
    }
    out.push_str(",\"n\":");
    string(out, &span.name);
    if !span.scope.is_empty() {
        out.push_str(",\"o\":");
        string(out, &span.scope);
    }
    if let Some(error) = Layout::error(span) {
        out.push_str(",\"e\":");
        string(out, &error);
    }
    if !span.attributes.is_empty() {
        out.push_str(",\"a\":");
        pairs(out, &span.attributes);
    }
    if !span.events.is_empty() {
        out.push_str(",\"ev\":");
        array(out, &span.events, |out, one| event(out, one, origin));
    }
    if !span.links.is_empty() {
        out.push_str(",\"l\":");
        array(out, &span.links, link);
    }
    out.push('}');
}

fn event(out: &mut String, event: &Event, origin: u64) {
    out.push('[');
    string(out, &event.name);
    let _ = write!(out, ",{},", event.time.saturating_sub(origin));
    pairs(out, &event.attributes);
    out.push(']');
}

fn link(out: &mut String, link: &Link) {
    let _ = write!(out, "[\"{}\",\"{}\",", link.trace_id, link.span_id);
    pairs(out, &link.attributes);
    out.push(']');
}

/// Returns the position of a kind in the page's `KINDS`.
fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Server => 1,
        SpanKind::Client => 2,
        SpanKind::Producer => 3,
        SpanKind::Consumer => 4,
        _ => 0,
    }
}

/// Writes an array, with `write` for each item.
#[cfg(feature = "serve")]
pub(crate) fn list<T>(out: &mut String, items: Vec<T>, write: impl FnMut(&mut String, T)) {
    array(out, items, write);
}

/// Writes log records in the order of the iterator.
pub(crate) fn logs<'a>(out: &mut String, records: impl IntoIterator<Item = &'a LogRecord>) {
    array(out, records, |out, record| {
        let _ = write!(out, r#"{{"t":{},"severity":{},"level":"#, record.time / 1_000, record.severity);
        string(out, &record.level);
        out.push_str(",\"service\":");
        string(out, &record.service);
        out.push_str(",\"body\":");
        string(out, &record.body);
        if let Some(id) = record.trace_id {
            let _ = write!(out, r#","trace":"{id}""#);
        }
        if let Some(id) = record.span_id {
            let _ = write!(out, r#","span":"{id}""#);
        }
        out.push_str(",\"a\":");
        pairs(out, &record.attributes);
        out.push('}');
    });
}

pub(crate) fn metrics(out: &mut String, metrics: &MetricStore) {
    array(
        out,
        metrics.instruments.iter().filter(|(_, series)| !series.is_empty()),
        |out, (metric, series)| {
            let _ = write!(out, r#"{{"kind":"{}","name":"#, metric.kind);
            string(out, &metric.name);
            for (key, text) in
                [("unit", &*metric.unit), ("description", &metric.description), ("service", &metric.service)]
            {
                let _ = write!(out, ",\"{key}\":");
                string(out, text);
            }
            out.push_str(",\"series\":");
            array(out, series, |out, series| {
                out.push_str("{\"a\":");
                pairs(out, &series.attributes);
                out.push_str(",\"points\":");
                // Values are finite, so that their text is a number of JSON.
                array(out, &series.points, |out, (time, value)| {
                    let _ = write!(out, "[{},{value}]", time / 1_000);
                });
                out.push('}');
            });
            out.push('}');
        },
    );
}
