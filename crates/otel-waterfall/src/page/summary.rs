//! The facts about a trace that its row in the list and the service map show.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use opentelemetry::trace::{SpanId, SpanKind};

use crate::{
    layout::{Layout, service_name},
    model::{Span, Trace},
};

/// Maximum number of durations of one edge that are kept for its quantiles.
const MAX_DURATIONS: usize = 64;

#[derive(Debug, PartialEq)]
pub(crate) struct Summary {
    /// Earliest start of all spans, in nanoseconds since the Unix epoch.
    pub(crate) start: u64,
    /// Time from the earliest start to the latest end, in nanoseconds.
    pub(crate) duration: u64,
    /// The name of the root, or of the earliest span.
    pub(crate) name: String,
    /// The services of the spans, in the order of their first span.
    pub(crate) services: Vec<Arc<str>>,
    pub(crate) errors: usize,
    /// The name and the error of the earliest failed span that has no failed child.
    pub(crate) error: Option<(String, String)>,
    /// The calls from one service to another, or to a store or broker without spans of its own.
    pub(crate) edges: Vec<(String, String, Calls)>,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Calls {
    pub(crate) count: usize,
    pub(crate) errors: usize,
    /// The durations of the first calls, in nanoseconds.
    pub(crate) durations: Vec<u64>,
}

impl Summary {
    pub(crate) fn new(trace: &Trace) -> Self {
        let start = trace.spans.iter().map(|span| span.start).min().unwrap_or(0);
        let end = trace.spans.iter().map(|span| span.end.max(span.start)).max().unwrap_or(0);
        let mut order: Vec<&Span> = trace.spans.iter().collect();
        order.sort_by_key(|span| span.start);
        let root = order.iter().find(|span| span.parent.is_none()).or_else(|| order.first());

        let mut seen: HashSet<&str> = HashSet::new();
        let services =
            order.iter().filter(|span| seen.insert(&span.service)).map(|span| Arc::clone(&span.service));
        let failed: Vec<&&Span> = order.iter().filter(|span| span.is_error()).collect();
        let callers: HashSet<SpanId> = failed.iter().filter_map(|span| span.parent).collect();
        let origin = failed.iter().find(|span| !callers.contains(&span.span_id)).or_else(|| failed.first());
        Self {
            start,
            duration: end - start,
            name: root.map_or_else(String::new, |span| span.name.clone()),
            services: services.collect(),
            errors: failed.len(),
            error: origin.map(|span| (span.name.clone(), Layout::error(span).unwrap_or_default())),
            edges: edges(&order),
        }
    }
}

fn edges(spans: &[&Span]) -> Vec<(String, String, Calls)> {
    let by_id: HashMap<SpanId, &Span> = spans.iter().map(|span| (span.span_id, *span)).collect();
    let parents: HashSet<SpanId> = spans.iter().filter_map(|span| span.parent).collect();
    let mut edges: Vec<(String, String, Calls)> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let mut add = |from: &str, to: &str, span: &Span| {
        let key = (from.to_owned(), to.to_owned());
        let place = *places.entry(key).or_insert_with_key(|(from, to)| {
            edges.push((from.clone(), to.clone(), Calls::default()));
            edges.len() - 1
        });
        let calls = &mut edges[place].2;
        calls.count += 1;
        calls.errors += usize::from(span.is_error());
        if calls.durations.len() < MAX_DURATIONS {
            calls.durations.push(span.duration());
        }
    };
    for span in spans {
        let caller =
            span.parent.and_then(|id| by_id.get(&id)).filter(|parent| parent.service != span.service);
        if let Some(caller) = caller {
            add(service_name(&caller.service), service_name(&span.service), span);
        }
        let is_outbound = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        if is_outbound
            && !parents.contains(&span.span_id)
            && let Some(peer) =
                span.attribute("db.system.name").or_else(|| span.attribute("messaging.system"))
        {
            add(service_name(&span.service), peer, span);
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Status, TraceId};

    use super::*;

    fn span(id: u64, name: &str, service: &str, start: u64) -> Span {
        Span::new(TraceId::from(1), SpanId::from(id), name, start, start + 10).with_service(service)
    }

    #[test]
    fn a_trace_in_short() {
        let failed = || Status::error("refused");
        let trace = Trace::group([
            span(3, "SELECT", "stock", 30)
                .with_parent(SpanId::from(2))
                .with_kind(SpanKind::Client)
                .with_attribute("db.system.name", "postgresql")
                .with_status(failed()),
            span(2, "GET /stock", "stock", 20).with_remote_parent(SpanId::from(1)).with_status(failed()),
            span(1, "POST /orders", "", 10),
        ])
        .remove(0);
        let summary = Summary::new(&trace);
        assert_eq!((summary.start, summary.duration, &*summary.name), (10, 30, "POST /orders"));
        assert_eq!(summary.services.iter().map(|service| &**service).collect::<Vec<_>>(), ["", "stock"]);
        assert_eq!((summary.errors, summary.error), (2, Some(("SELECT".to_owned(), "refused".to_owned()))));
        let edges: Vec<_> =
            summary.edges.iter().map(|(from, to, calls)| (&**from, &**to, calls.count)).collect();
        assert_eq!(edges, [("unknown", "stock", 1), ("stock", "postgresql", 1)]);
        assert_eq!(summary.edges[1].2, Calls { count: 1, errors: 1, durations: vec![10] });
    }

    #[test]
    fn a_trace_without_spans() {
        let summary = Summary::new(&Trace::empty(TraceId::from(1)));
        assert_eq!((summary.start, summary.duration, summary.errors, summary.error), (0, 0, 0, None));
    }
}
