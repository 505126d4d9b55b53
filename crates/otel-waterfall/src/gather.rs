//! What has arrived and when it is to be drawn: a pure state machine over spans and instants, bounded in memory.
//!
//! An exporter sees only spans that have ended. A trace is held to be finished when its root has arrived and so has
//! every parent that is referred to; as there is no end mark, each stage is followed by a time in which nothing arrives.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use opentelemetry::trace::{SpanId, TraceId};

use crate::model::{Span, Trace};

/// The limits and times that a user can set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long nothing must arrive for a trace whose callers are elsewhere.
    pub(crate) quiet: Duration,
    pub(crate) max_traces: usize,
    pub(crate) max_spans: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { quiet: Duration::from_secs(1), max_traces: 1_000, max_spans: 20_000 }
    }
}

/// How many drawn traces are remembered, to say so when late spans come.
const REMEMBERED: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Gathering {
    pub(crate) limits: Limits,
    open: HashMap<TraceId, Open>,
    spans: usize,
    drawn: VecDeque<TraceId>,
    /// Spans not kept since the last time this was said, of traces that have no place of their own.
    unsaid: u64,
    not_kept: u64,
    arrivals: u64,
}

/// A trace that is being gathered.
#[derive(Debug)]
struct Open {
    trace: Trace,
    ids: HashSet<SpanId>,
    /// Parents that have not arrived, and whether all who refer to them are in other services.
    awaited: HashMap<SpanId, bool>,
    /// How many of the awaited are in the same service as a span that refers to them.
    awaited_here: usize,
    has_root: bool,
    last: Instant,
    /// Its place in the order of arrival, for traces are drawn in that order.
    number: u64,
}

impl Open {
    fn due(&self, quiet: Duration) -> Instant {
        let wait = if self.awaited_here > 0 {
            // The parent is in this process and has not ended yet, or was not sampled.
            quiet.saturating_mul(10)
        } else if self.awaited.is_empty() && self.has_root {
            quiet / 10
        } else {
            quiet
        };
        // Far enough away to be never, for a time that has no place on the clock.
        let never = Duration::from_secs(60 * 60 * 24 * 365);
        self.last.checked_add(wait).unwrap_or_else(|| self.last + never)
    }
}

impl Gathering {
    /// Takes a span in; returns when its trace is due if nothing else arrives, or nothing if it was not kept.
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
        // Parents end last: an eighth of the room is kept for them, so that a trace that is too large stays a tree.
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
                // Without a span there is nothing to draw and so nothing to wait for.
                if let Some(id) = of {
                    self.open.remove(&id);
                }
            }
        }
        None
    }

    /// When the next trace is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|open| open.due(self.limits.quiet)).min()
    }

    /// Hands out the traces that are due, in the order in which they began to arrive.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Trace> {
        let quiet = self.limits.quiet;
        self.take(|open| open.due(quiet) <= now)
    }

    /// Hands out everything.
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

    /// How many spans were not kept and have not been spoken of; from then on they have been.
    pub(crate) fn take_unsaid(&mut self) -> u64 {
        std::mem::take(&mut self.unsaid)
    }

    /// How many spans were not kept in all.
    pub(crate) fn not_kept(&self) -> u64 {
        self.not_kept
    }
}

#[cfg(test)]
mod tests;
