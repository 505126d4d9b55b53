//! The layout of a trace: from spans to the rows that both renderers draw.
//!
//! Every input has a layout: a missing parent gets a row, a cycle is cut, and a row notes inconsistent clocks.

use std::{collections::HashMap, ops::Range, sync::Arc};

use opentelemetry::trace::{SpanId, Status};

use crate::{
    duration::human,
    model::{Span, Trace},
};

/// The layout of a trace.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    /// Earliest start of all spans, in nanoseconds since the Unix epoch.
    pub(crate) start: u64,
    /// Time from the earliest start to the latest end, in nanoseconds.
    pub(crate) total: u64,
    /// All rows, from top to bottom.
    pub(crate) rows: Vec<Row<'a>>,
    /// Rows that are not drawn because there are too many.
    pub(crate) hidden: Range<usize>,
    /// The services in the order of their first row.
    pub(crate) services: Vec<&'a str>,
    /// Number of spans with the status Error.
    pub(crate) errors: usize,
}

/// One row: a span, or the placeholder of a missing parent.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) item: Item<'a>,
    pub(crate) depth: usize,
    /// True for the last of its siblings.
    pub(crate) last: bool,
    /// Index of the parent's row.
    pub(crate) parent: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    Span {
        span: &'a Span,
        /// True if the parents of the span lead back to it, so that it is drawn at the top.
        cycle: bool,
    },
    Missing(SpanId),
}

impl<'a> Row<'a> {
    pub(crate) fn span(&self) -> Option<&'a Span> {
        match self.item {
            Item::Span { span, .. } => Some(span),
            Item::Missing(_) => None,
        }
    }
}

impl<'a> Layout<'a> {
    /// Lays out a trace. If it has more than `max_rows` rows, those in the middle are hidden.
    pub(crate) fn new(trace: &'a Trace, max_rows: usize) -> Self {
        let spans = &trace.spans;
        let start = spans.iter().map(|s| s.start).min().unwrap_or(0);
        let end = spans.iter().map(|s| s.end.max(s.start)).max().unwrap_or(0);
        let rows = Forest::new(spans).rows();

        let hidden = if rows.len() > max_rows {
            // The note about the hidden rows is a row itself.
            let shown = max_rows.saturating_sub(1);
            let tail = shown / 3;
            shown - tail..rows.len() - tail
        } else {
            0..0
        };
        let mut services: Vec<&str> = Vec::new();
        for span in rows.iter().filter_map(Row::span) {
            if !services.contains(&span.service.as_ref()) {
                services.push(&span.service);
            }
        }
        let errors = spans.iter().filter(|span| span.is_error()).count();
        Self { start, total: end - start, rows, hidden, services, errors }
    }

    /// Returns the rows that are not hidden, with their indices.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (usize, &Row<'a>)> {
        self.rows.iter().enumerate().filter(|(place, _)| !self.hidden.contains(place))
    }

    /// Returns the note that is drawn instead of the hidden rows.
    pub(crate) fn hidden_note(&self) -> String {
        let hidden = &self.rows[self.hidden.clone()];
        let spans = hidden.iter().filter_map(Row::span);
        let errors = spans.clone().filter(|span| span.is_error()).count();
        let note = format!("… {} not shown", count(spans.count() as u64, "span"));
        if errors == 0 { note } else { format!("{note}, {}", count(errors as u64, "error")) }
    }

    /// Returns true if the next row is a child of this row.
    pub(crate) fn has_children(&self, place: usize) -> bool {
        self.rows.get(place + 1).is_some_and(|next| next.depth > self.rows[place].depth)
    }

    /// Returns the index of the service, which determines its colour.
    pub(crate) fn service_number(&self, service: &str) -> usize {
        self.services.iter().position(|s| *s == service).unwrap_or(0)
    }

    /// Returns the error of a failed span, from `error.type` and the description of the status.
    pub(crate) fn error(span: &Span) -> Option<String> {
        let Status::Error { description } = &span.status else { return None };
        Some(match (span.attribute("error.type"), description.as_ref()) {
            (Some(kind), "") => kind.to_owned(),
            (Some(kind), text) => format!("{kind}: {text}"),
            (None, "") => "error".to_owned(),
            (None, text) => text.to_owned(),
        })
    }

    /// Returns notes about a cycle, a parent in another process, and inconsistent times.
    pub(crate) fn oddities(&self, row: &Row<'_>) -> Vec<String> {
        let Item::Span { span, cycle } = row.item else { return Vec::new() };
        let mut notes = Vec::new();
        if cycle {
            notes.push("its parents lead back to itself".to_owned());
        }
        let parent = row.parent.and_then(|place| self.rows[place].span());
        if let (None, Some(id), true, false) = (parent, span.parent, span.parent_is_remote, cycle) {
            notes.push(format!("called from elsewhere: parent {id}"));
        }
        if let Some(early) = parent.and_then(|p| p.start.checked_sub(span.start)).filter(|early| *early > 0) {
            notes.push(format!("starts {} before its parent", human(early)));
        }
        if span.end < span.start {
            notes.push(format!("ends {} before it starts", human(span.start - span.end)));
        }
        notes
    }
}

/// Formats a number with thousands separators and a noun, in the plural unless the number is 1.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push(' ');
    out.push_str(noun);
    if number != 1 {
        out.push('s');
    }
    out
}

/// The spans with their parents resolved, and the rows added so far.
struct Forest<'a> {
    spans: &'a [Span],
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    seen: Vec<bool>,
    rows: Vec<Row<'a>>,
}

impl<'a> Forest<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let mut by_id = HashMap::new();
        for (i, span) in spans.iter().enumerate() {
            by_id.entry(span.span_id).or_insert(i);
        }
        let parents: Vec<_> =
            spans.iter().map(|span| span.parent.and_then(|id| by_id.get(&id).copied())).collect();
        let mut children = vec![Vec::new(); spans.len()];
        for (i, parent) in parents.iter().enumerate() {
            if let Some(parent) = *parent {
                children[parent].push(i);
            }
        }
        for siblings in &mut children {
            siblings.sort_by_key(|&i| (spans[i].start, i));
        }
        Self { spans, parents, children, seen: vec![false; spans.len()], rows: Vec::new() }
    }

    fn rows(mut self) -> Vec<Row<'a>> {
        let mut by_start: Vec<usize> = (0..self.spans.len()).collect();
        by_start.sort_by_key(|&i| (self.spans[i].start, i));

        let tops: Vec<usize> = by_start.iter().copied().filter(|&i| self.parents[i].is_none()).collect();
        let mut orphans: HashMap<SpanId, Vec<usize>> = HashMap::new();
        for &i in &tops {
            if let Some(missing) = self.missing_parent(i) {
                orphans.entry(missing).or_default().push(i);
            }
        }
        for i in tops {
            match self.missing_parent(i) {
                None => self.grow(&[i], None, false),
                // The children of a missing parent are placed together, at the position of the first of them.
                Some(missing) => {
                    if let Some(orphans) = orphans.remove(&missing) {
                        let place = self.rows.len();
                        self.rows.push(Row {
                            item: Item::Missing(missing),
                            depth: 0,
                            last: false,
                            parent: None,
                        });
                        self.grow(&orphans, Some(place), false);
                    }
                }
            }
        }
        // The remaining spans descend from cycles. A cycle is cut at its first member above the earliest such span.
        for &i in &by_start {
            if !self.seen[i] {
                let place = self.on_cycle(i);
                self.grow(&[place], None, true);
            }
        }
        self.rows
    }

    /// Returns the id of an absent parent that belongs to the same service; a remote parent is only elsewhere.
    fn missing_parent(&self, i: usize) -> Option<SpanId> {
        self.spans[i].parent.filter(|_| !self.spans[i].parent_is_remote)
    }

    /// Returns a span of the cycle that is reached by following the parents of `i`.
    fn on_cycle(&self, mut i: usize) -> usize {
        let mut passed = std::collections::HashSet::new();
        while passed.insert(i) {
            match self.parents[i] {
                Some(parent) => i = parent,
                None => return i,
            }
        }
        i
    }

    /// Adds rows for the siblings and all their descendants, without recursion, because the depth is unbounded.
    fn grow(&mut self, siblings: &[usize], parent: Option<usize>, cycle: bool) {
        let depth = usize::from(parent.is_some());
        let mut stack = Vec::new();
        push(&mut stack, siblings, parent, depth);
        let mut top_is_cycle = cycle;
        while let Some((i, parent, depth, last)) = stack.pop() {
            self.seen[i] = true;
            let place = self.rows.len();
            let item = Item::Span { span: &self.spans[i], cycle: std::mem::take(&mut top_is_cycle) };
            self.rows.push(Row { item, depth, last, parent });
            let unseen: Vec<_> = self.children[i].iter().copied().filter(|&c| !self.seen[c]).collect();
            push(&mut stack, &unseen, Some(place), depth + 1);
        }
    }
}

type Pending = (usize, Option<usize>, usize, bool);

fn push(stack: &mut Vec<Pending>, siblings: &[usize], parent: Option<usize>, depth: usize) {
    for (n, &i) in siblings.iter().enumerate().rev() {
        stack.push((i, parent, depth, n + 1 == siblings.len()));
    }
}

/// Returns the display name of a service.
pub(crate) fn service_name(service: &Arc<str>) -> &str {
    if service.is_empty() { "unknown" } else { service }
}
