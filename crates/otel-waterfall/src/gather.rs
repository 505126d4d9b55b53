//! Spans grouped by trace, and the time at which each trace is due to be drawn: a state machine without I/O or a
//! clock, bounded in memory.
//!
//! An exporter receives only spans that have ended, and a trace has no end mark. A trace therefore counts as complete
//! when its root and all referenced parents have arrived and no span has arrived for some time since.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use opentelemetry::trace::{SpanId, TraceId};

use crate::model::{Span, Trace};

/// Limits and times that the user sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time without a new span after which a trace is drawn whose missing parents are all in other services.
    pub(crate) quiet: Duration,
    pub(crate) max_traces: usize,
    pub(crate) max_spans: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { quiet: Duration::from_secs(1), max_traces: 1_000, max_spans: 20_000 }
    }
}

/// Number of drawn traces that are remembered, so that late spans can be marked as late.
const REMEMBERED: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Gathering {
    pub(crate) limits: Limits,
    open: HashMap<TraceId, Open>,
    spans: usize,
    drawn: VecDeque<TraceId>,
    /// Spans not kept since the last [`take_unsaid`](Self::take_unsaid) that belong to no gathered trace.
    unsaid: u64,
    not_kept: u64,
    arrivals: u64,
}

/// A trace that is being gathered.
#[derive(Debug)]
struct Open {
    trace: Trace,
    ids: HashSet<SpanId>,
    /// Parents that have not arrived; true if all spans that refer to the parent are in other services.
    awaited: HashMap<SpanId, bool>,
    /// Number of awaited parents that are in the same service as a span that refers to them.
    awaited_here: usize,
    has_root: bool,
    last: Instant,
    /// Position in the order of arrival; traces are drawn in this order.
    number: u64,
}

impl Open {
    fn due(&self, quiet: Duration) -> Instant {
        let wait = if self.awaited_here > 0 {
            // The parent is in this process and either has not ended or was not sampled.
            quiet.saturating_mul(10)
        } else if self.awaited.is_empty() && self.has_root {
            quiet / 10
        } else {
            quiet
        };
        // `wait` can be too long to be added to an `Instant`; a year then means never.
        let never = Duration::from_secs(60 * 60 * 24 * 365);
        self.last.checked_add(wait).unwrap_or_else(|| self.last + never)
    }
}

impl Gathering {
    /// Adds a span. Returns the time at which its trace is due if no other span arrives, or `None` if the span was
    /// not kept.
    pub(crate) fn add(&mut self, span: Span, now: Instant) -> Option<Instant> {
        let limits = self.limits;
        if !self.open.contains_key(&span.trace_id) {
            if self.open.len() >= limits.max_traces {
                return self.refuse(None);
            }
            self.arrivals += 1;
            let open = Open {
                trace: Trace::empty(span.trace_id),
                ids: HashSet::new(),
                awaited: HashMap::new(),
                awaited_here: 0,
                has_root: false,
                last: now,
                number: self.arrivals,
            };
            self.open.insert(span.trace_id, open);
        }
        let trace_id = span.trace_id;
        let open = self.open.get_mut(&trace_id)?;
        open.last = now;
        // Parents end after their children: one eighth of the capacity is reserved for them, so that a trace that is
        // too large remains a tree.
        let wanted = span.parent.is_none() || open.awaited.contains_key(&span.span_id);
        let room = if wanted { limits.max_spans } else { limits.max_spans - limits.max_spans / 8 };
        if open.awaited.remove(&span.span_id) == Some(false) {
            open.awaited_here -= 1;
        }
        if self.spans >= room {
            return self.refuse(Some(trace_id));
        }
        open.ids.insert(span.span_id);
        match span.parent {
            None => open.has_root = true,
            Some(parent) if !open.ids.contains(&parent) => {
                let remote = open.awaited.entry(parent).or_insert(true);
                if std::mem::replace(remote, *remote && span.parent_is_remote) != *remote {
                    open.awaited_here += 1;
                }
            }
            Some(_) => {}
        }
        open.trace.spans.push(span);
        self.spans += 1;
        Some(open.due(limits.quiet))
    }

    fn refuse(&mut self, of: Option<TraceId>) -> Option<Instant> {
        self.not_kept += 1;
        match of.and_then(|id| self.open.get_mut(&id)) {
            Some(open) if !open.trace.spans.is_empty() => open.trace.not_kept += 1,
            _ => {
                self.unsaid += 1;
                // A trace without any kept span has nothing to draw.
                if let Some(id) = of {
                    self.open.remove(&id);
                }
            }
        }
        None
    }

    /// Returns the time at which the next trace is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|open| open.due(self.limits.quiet)).min()
    }

    /// Removes and returns the traces that are due, in the order of their first spans' arrival.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Trace> {
        let quiet = self.limits.quiet;
        self.take(|open| open.due(quiet) <= now)
    }

    /// Removes and returns all traces.
    pub(crate) fn take_all(&mut self) -> Vec<Trace> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Open) -> bool) -> Vec<Trace> {
        let mut taken: Vec<Open> =
            self.open.extract_if(|_, open| which(open)).map(|(_, open)| open).collect();
        taken.sort_by_key(|open| open.number);
        let mut traces = Vec::with_capacity(taken.len());
        for Open { mut trace, .. } in taken {
            self.spans -= trace.spans.len();
            trace.continued = self.drawn.contains(&trace.id);
            if !trace.continued {
                if self.drawn.len() == REMEMBERED {
                    self.drawn.pop_front();
                }
                self.drawn.push_back(trace.id);
            }
            traces.push(trace);
        }
        traces
    }

    /// Returns the number of spans that were not kept and not reported yet, and resets it.
    pub(crate) fn take_unsaid(&mut self) -> u64 {
        std::mem::take(&mut self.unsaid)
    }

    /// Returns the total number of spans that were not kept.
    pub(crate) fn not_kept(&self) -> u64 {
        self.not_kept
    }
}

#[cfg(test)]
mod tests;
