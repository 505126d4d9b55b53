//! Span forests as text that reads well in a snapshot: parents before children, in the order of start, with ids and
//! other values that differ from run to run left out or replaced.

use std::collections::HashMap;
use std::fmt::Write as _;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceId};
use opentelemetry_sdk::trace::SpanData;

use crate::{normalize, span_log::SpanLogState};

type Id = (TraceId, SpanId);

fn id(context: &SpanContext) -> Id {
    (context.trace_id(), context.span_id())
}

struct Forest<'a> {
    spans: HashMap<Id, &'a SpanData>,
    children: HashMap<Id, Vec<&'a SpanData>>,
    /// Numbers of the spans that a link points to, in the order in which they are drawn.
    numbers: HashMap<Id, usize>,
    out: String,
}

pub(crate) fn render(state: &SpanLogState) -> String {
    let mut ordered: Vec<&SpanData> = state.finished.iter().collect();
    ordered.sort_by_key(|span| state.order(span.span_context.span_id()));

    let mut forest = Forest {
        spans: ordered.iter().map(|span| (id(&span.span_context), *span)).collect(),
        children: HashMap::new(),
        numbers: HashMap::new(),
        out: String::new(),
    };
    let mut roots = Vec::new();
    for span in &ordered {
        let parent = (span.span_context.trace_id(), span.parent_span_id);
        if forest.spans.contains_key(&parent) {
            forest.children.entry(parent).or_default().push(span);
        } else {
            roots.push(*span);
        }
    }
    let targets: Vec<Id> =
        ordered.iter().flat_map(|span| span.links.iter()).map(|link| id(&link.span_context)).collect();
    for root in &roots {
        forest.number(root, &targets);
    }
    for root in &roots {
        forest.draw(root, "", "");
    }
    for entry in state.started.iter().filter(|entry| !entry.finished) {
        let _ = writeln!(forest.out, "not finished: {} {}", kind(&entry.kind), entry.name);
    }
    forest.out
}

impl<'a> Forest<'a> {
    fn children_of(&self, span: &SpanData) -> Vec<&'a SpanData> {
        self.children.get(&id(&span.span_context)).cloned().unwrap_or_default()
    }

    fn number(&mut self, span: &SpanData, targets: &[Id]) {
        let own = id(&span.span_context);
        if targets.contains(&own) {
            let next = self.numbers.len() + 1;
            self.numbers.insert(own, next);
        }
        for child in self.children_of(span) {
            self.number(child, targets);
        }
    }

    fn draw(&mut self, span: &SpanData, branch: &str, indent: &str) {
        let _ = writeln!(self.out, "{branch}{}", self.headline(span));
        let children = self.children_of(span);
        let bar = if children.is_empty() { "    " } else { "│   " };
        for line in self.details(span) {
            let _ = writeln!(self.out, "{indent}{bar}{line}");
        }
        for (index, child) in children.iter().enumerate() {
            let (branch, next) =
                if index + 1 == children.len() { ("└── ", "    ") } else { ("├── ", "│   ") };
            self.draw(child, &format!("{indent}{branch}"), &format!("{indent}{next}"));
        }
    }

    fn headline(&self, span: &SpanData) -> String {
        let mut line = format!("{} {}", kind(&span.span_kind), normalize::text_without_ports(&span.name));
        match &span.status {
            Status::Unset => {}
            Status::Ok => line.push_str("  ok"),
            Status::Error { description } if description.is_empty() => line.push_str("  error"),
            Status::Error { description } => {
                let _ = write!(line, "  error: {}", normalize::text_without_ports(description));
            }
        }
        if let Some(number) = self.numbers.get(&id(&span.span_context)) {
            let _ = write!(line, "  #{number}");
        }
        let parent = (span.span_context.trace_id(), span.parent_span_id);
        match (span.parent_span_is_remote, self.spans.contains_key(&parent)) {
            (true, true) => line.push_str("  ⇠ remote"),
            (true, false) => {
                let _ = write!(line, "  ⇠ remote {}", short(parent));
            }
            // A parent in this process that was not sampled or has not ended.
            (false, false) if span.parent_span_id != SpanId::INVALID => line.push_str("  ⇠ not recorded"),
            (false, _) => {}
        }
        line
    }

    fn details(&self, span: &SpanData) -> Vec<String> {
        let mut lines: Vec<String> = normalize::sorted(&span.attributes).iter().map(pair).collect();
        dropped(&mut lines, span.dropped_attributes_count, "attributes");
        let tracestate = span.span_context.trace_state().header();
        if !tracestate.is_empty() {
            lines.push(format!("tracestate: {tracestate}"));
        }
        for event in span.events.iter() {
            lines.push(format!("event {}", event.name));
            lines.extend(normalize::sorted(&event.attributes).iter().map(|kv| format!("    {}", pair(kv))));
        }
        dropped(&mut lines, span.events.dropped_count, "events");
        for link in span.links.iter() {
            let target = id(&link.span_context);
            lines.push(match self.numbers.get(&target) {
                Some(number) => format!("link → #{number}"),
                None if link.span_context.is_remote() => format!("link → remote {}", short(target)),
                None => "link → not recorded".to_owned(),
            });
            lines.extend(normalize::sorted(&link.attributes).iter().map(|kv| format!("    {}", pair(kv))));
        }
        dropped(&mut lines, span.links.dropped_count, "links");
        lines
    }
}

fn pair((key, value): &(String, String)) -> String {
    format!("{key}: {value}")
}

fn dropped(lines: &mut Vec<String>, count: u32, what: &str) {
    if count > 0 {
        lines.push(format!("({count} {what} dropped)"));
    }
}

fn kind(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "CLIENT",
        SpanKind::Server => "SERVER",
        SpanKind::Producer => "PRODUCER",
        SpanKind::Consumer => "CONSUMER",
        SpanKind::Internal => "INTERNAL",
    }
}

/// Both ids by their first and last four digits: enough to distinguish those of one test.
fn short((trace_id, span_id): Id) -> String {
    let ends = |hex: String| format!("{}…{}", &hex[..4], &hex[hex.len() - 4..]);
    format!("{}/{}", ends(trace_id.to_string()), ends(span_id.to_string()))
}
