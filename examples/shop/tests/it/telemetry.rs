//! The exported telemetry, as a test reads it.

use std::collections::{BTreeMap, HashSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use shop::receiver::{Receiver, hex, service};

/// The spans of one trace.
pub(crate) struct Spans(pub(crate) Vec<(String, Span)>);

impl Spans {
    pub(crate) fn of(receiver: &Receiver, trace: &str) -> Self {
        let spans = receiver.spans().into_iter().filter(|(_, span)| hex(&span.trace_id) == trace);
        Self(spans.collect())
    }

    /// Returns the tree, one line a span: its service and name, indented below its parent. Siblings are in the order of their starts.
    pub(crate) fn tree(&self) -> String {
        let mut text = String::new();
        self.write(&[], 0, &mut text);
        text
    }

    fn write(&self, parent: &[u8], depth: usize, text: &mut String) {
        let mut children: Vec<_> = self.0.iter().filter(|(_, span)| span.parent_span_id == parent).collect();
        children.sort_by_key(|(_, span)| span.start_time_unix_nano);
        for (service, span) in children {
            let name = if span.name.starts_with("publish _INBOX") { "publish _INBOX" } else { &*span.name };
            text.push_str(&format!("{}{service}: {name}\n", "  ".repeat(depth)));
            self.write(&span.span_id, depth + 1, text);
        }
    }

    /// Asserts one root, a parent for each other span, and that links within the trace point to its spans.
    #[track_caller]
    pub(crate) fn assert_complete(&self) {
        let ids: HashSet<_> = self.0.iter().map(|(_, span)| span.span_id.clone()).collect();
        assert_eq!(ids.len(), self.0.len(), "a span was exported twice");
        let roots = self.0.iter().filter(|(_, span)| span.parent_span_id.is_empty()).count();
        assert_eq!(roots, 1, "{}", self.tree());
        for (service, span) in &self.0 {
            let has_parent = span.parent_span_id.is_empty() || ids.contains(&span.parent_span_id);
            assert!(has_parent, "the parent of {service}: {} is missing", span.name);
            for link in span.links.iter().filter(|link| link.trace_id == span.trace_id) {
                assert!(ids.contains(&link.span_id), "a link of {service}: {} leads nowhere", span.name);
            }
        }
    }

    pub(crate) fn count(&self, service: &str, name: &str) -> usize {
        self.0.iter().filter(|(of, span)| of == service && span.name == name).count()
    }
}

/// The metric that has the durations of operations such as this span.
fn duration_of(span: &Span) -> Option<&'static str> {
    let attribute = |key: &str| span.attributes.iter().find(|attribute| attribute.key == key);
    let is_server = span.kind == SpanKind::Server as i32;
    if attribute("rpc.system.name").is_some() {
        return Some(if is_server { "rpc.server.call.duration" } else { "rpc.client.call.duration" });
    }
    if attribute("http.request.method").is_some() {
        return Some(if is_server { "http.server.request.duration" } else { "http.client.request.duration" });
    }
    attribute("messaging.system")?;
    let kind = attribute("messaging.operation.type")?.value.as_ref()?.value.as_ref()?;
    let is_process = matches!(kind, Value::StringValue(kind) if kind == "process");
    Some(if is_process { "messaging.process.duration" } else { "messaging.client.operation.duration" })
}

/// Asserts that each service, but those `without`, has as many durations of its operations over HTTP, gRPC and brokers as spans of
/// them.
#[track_caller]
pub(crate) fn assert_metrics_agree(receiver: &Receiver, without: &[&str]) {
    let mut spans = BTreeMap::new();
    for (service, span) in receiver.spans() {
        if let Some(metric) = duration_of(&span) {
            *spans.entry((service, metric.to_owned())).or_insert(0) += 1;
        }
    }
    let mut durations = BTreeMap::new();
    for metrics in receiver.metrics() {
        for metric in metrics.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let is_counted = ["rpc.", "http.", "messaging."].iter().any(|of| metric.name.starts_with(of));
            if !is_counted || !metric.name.ends_with(".duration") {
                continue;
            }
            let Some(Data::Histogram(histogram)) = metric.data else {
                panic!("{}: no histogram", metric.name)
            };
            let count: u64 = histogram.data_points.iter().map(|point| point.count).sum();
            *durations.entry((service(metrics.resource.as_ref()), metric.name)).or_insert(0) += count;
        }
    }
    for counts in [&mut spans, &mut durations] {
        counts.retain(|(service, _), _| !without.contains(&service.as_str()));
    }
    assert_eq!(spans, durations);
}
