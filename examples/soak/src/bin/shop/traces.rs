//! All traces of a run, kept small: of each span its id and that of its parent.

use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::trace::v1::Span;

/// The first span of an order, and the one with which a completed order ends.
const ORDER: (&str, &str) = ("gateway", "POST /orders");
const NOTIFIED: (&str, &str) = ("notifications", "process SHIPMENTS");

#[derive(Default)]
struct Trace {
    ids: HashSet<u64>,
    parents: Vec<u64>,
    roots: u64,
    is_order: bool,
    is_notified: bool,
}

impl Trace {
    fn orphans(&self) -> u64 {
        self.parents.iter().filter(|parent| !self.ids.contains(parent)).count() as u64
    }
}

#[derive(Default)]
pub(crate) struct Traces {
    traces: HashMap<Vec<u8>, Trace>,
    spans: u64,
    doubled: u64,
}

fn number(id: &[u8]) -> u64 {
    id.try_into().map_or(0, u64::from_be_bytes)
}

impl Traces {
    pub(crate) fn add(&mut self, spans: Vec<(String, Span)>) {
        for (service, span) in spans {
            self.spans += 1;
            let trace = self.traces.entry(span.trace_id).or_default();
            if !trace.ids.insert(number(&span.span_id)) {
                self.doubled += 1;
            }
            if span.parent_span_id.is_empty() {
                trace.roots += 1;
            } else {
                trace.parents.push(number(&span.parent_span_id));
            }
            let name = (&*service, &*span.name);
            trace.is_order |= name == ORDER;
            trace.is_notified |= name == NOTIFIED;
        }
    }

    fn count(&self, is_counted: impl Fn(&Trace) -> bool) -> u64 {
        self.traces.values().filter(|trace| is_counted(trace)).count() as u64
    }

    pub(crate) fn spans(&self) -> u64 {
        self.spans
    }

    /// Returns the number of spans that arrived more than once.
    pub(crate) fn doubled(&self) -> u64 {
        self.doubled
    }

    pub(crate) fn orders(&self) -> u64 {
        self.count(|trace| trace.is_order)
    }

    pub(crate) fn notified(&self) -> u64 {
        self.count(|trace| trace.is_order && trace.is_notified)
    }

    pub(crate) fn without_one_root(&self) -> u64 {
        self.count(|trace| trace.roots != 1)
    }

    pub(crate) fn orphans(&self) -> u64 {
        self.traces.values().map(Trace::orphans).sum()
    }

    /// Returns the number of traces without exactly one root, or with a span whose parent is missing.
    pub(crate) fn incomplete(&self) -> u64 {
        self.count(|trace| trace.roots != 1 || trace.orphans() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Span, Traces};

    fn span(id: u8, parent: u8, (service, name): (&str, &str)) -> (String, Span) {
        let id_of = |id: u8| if id == 0 { Vec::new() } else { vec![0, 0, 0, 0, 0, 0, 0, id] };
        let span = Span {
            trace_id: vec![7; 16],
            span_id: id_of(id),
            parent_span_id: id_of(parent),
            name: name.to_owned(),
            ..Span::default()
        };
        (service.to_owned(), span)
    }

    #[test]
    fn a_trace_is_complete_with_its_last_parent() {
        let mut traces = Traces::default();
        traces.add(vec![span(3, 2, ("notifications", "process SHIPMENTS")), span(2, 1, ("orders", "saga"))]);
        assert_eq!((traces.orders(), traces.notified(), traces.incomplete()), (0, 0, 1));
        assert_eq!((traces.orphans(), traces.without_one_root()), (1, 1));
        traces.add(vec![span(1, 0, ("gateway", "POST /orders"))]);
        assert_eq!((traces.orders(), traces.notified(), traces.incomplete()), (1, 1, 0));
        assert_eq!((traces.orphans(), traces.without_one_root(), traces.doubled()), (0, 0, 0));
        traces.add(vec![span(1, 0, ("gateway", "POST /orders"))]);
        assert_eq!((traces.without_one_root(), traces.doubled(), traces.spans()), (1, 1, 4));
    }
}
