//! The data of the server, bounded in memory: the oldest traces and log records are forgotten.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write,
    mem::size_of,
    sync::Arc,
};

use opentelemetry::trace::{Status, TraceId};

use crate::{
    model::{Span, Trace},
    page::{encode, summary::Summary},
    sdk::{SharedTexts, bound_attributes, bound_items, bound_text},
    signals::{Instrument, LogRecord, MetricPoint, MetricStore, Signals},
};

/// Maximum number of kept traces and log records, whatever their size.
const MAX_TRACES: usize = 5_000;
const MAX_LOGS: usize = 5_000;
/// Maximum number of traces and of log records in one answer; the page asks again for the rest.
const MAX_CHANGES: usize = 300;
/// Maximum length of the texts in bytes and number of the attributes of a series, because the series themselves are not
/// forgotten.
const MAX_SERIES_TEXT: usize = 128;
const MAX_SERIES_ITEMS: usize = 8;

#[derive(Debug)]
pub(super) struct Store {
    max_bytes: usize,
    /// Estimated size of the traces and of the log records.
    trace_bytes: usize,
    log_bytes: usize,
    traces: HashMap<TraceId, Kept>,
    /// The traces in the order of their first span's arrival.
    order: VecDeque<TraceId>,
    logs: VecDeque<(u64, LogRecord)>,
    metrics: MetricStore,
    metrics_revision: u64,
    /// Counts the changes; each changed trace and each log record has the number of its change.
    revision: u64,
    arrivals: u64,
    spans: u64,
    forgotten: u64,
}

#[derive(Debug)]
struct Kept {
    trace: Trace,
    bytes: usize,
    number: u64,
    revision: u64,
}

impl Store {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            trace_bytes: 0,
            log_bytes: 0,
            traces: HashMap::new(),
            order: VecDeque::new(),
            logs: VecDeque::new(),
            metrics: MetricStore::default(),
            metrics_revision: 0,
            revision: 0,
            arrivals: 0,
            spans: 0,
            forgotten: 0,
        }
    }

    pub(super) fn add(&mut self, signals: Signals) {
        let mut shared = SharedTexts::default();
        for mut span in signals.spans {
            span.bound(&mut shared);
            self.add_span(span);
        }
        for mut record in signals.logs {
            shared.services.bound(&mut record.service);
            self.add_log(record);
        }
        if !signals.points.is_empty() {
            self.revision += 1;
            self.metrics_revision = self.revision;
        }
        for point in signals.points {
            self.metrics.add(bound_point(point));
        }
    }

    fn add_span(&mut self, span: Span) {
        self.spans += 1;
        self.revision += 1;
        let id = span.trace_id;
        let (arrivals, order) = (&mut self.arrivals, &mut self.order);
        let kept = self.traces.entry(id).or_insert_with(|| {
            *arrivals += 1;
            order.push_back(id);
            Kept { trace: Trace::empty(id), bytes: 0, number: *arrivals, revision: 0 }
        });
        kept.revision = self.revision;
        let shared = kept.trace.spans.last().is_some_and(|last| Arc::ptr_eq(&last.resource, &span.resource));
        let bytes = size_of_span(&span) + if shared { 0 } else { size_of_pairs(&span.resource) };
        // One trace has at most half of the memory, so that it never forgets all others.
        if kept.bytes + bytes > self.max_bytes / 2 {
            kept.trace.not_kept += 1;
            return;
        }
        kept.bytes += bytes;
        self.trace_bytes += bytes;
        kept.trace.spans.push(span);
        while self.trace_bytes > self.max_bytes / 8 * 7 || self.order.len() > MAX_TRACES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(kept) = self.traces.remove(&oldest) {
                self.trace_bytes -= kept.bytes;
                self.forgotten += 1;
            }
        }
    }

    fn add_log(&mut self, mut record: LogRecord) {
        bound_text(&mut record.body);
        bound_text(&mut record.level);
        bound_attributes(&mut record.attributes);
        self.revision += 1;
        self.log_bytes += size_of_log(&record);
        self.logs.push_back((self.revision, record));
        while self.log_bytes > self.max_bytes / 8 || self.logs.len() > MAX_LOGS {
            let Some((_, oldest)) = self.logs.pop_front() else { break };
            self.log_bytes -= size_of_log(&oldest);
        }
    }

    /// Writes what has changed after a revision, the oldest changes first.
    pub(super) fn changes(&self, after: u64, started: u64) -> String {
        let mut changed: Vec<&Kept> = self.traces.values().filter(|kept| kept.revision > after).collect();
        changed.sort_unstable_by_key(|kept| kept.revision);
        let logs = self.logs.partition_point(|(revision, _)| *revision <= after);
        let mut records: Vec<_> = self.logs.range(logs..).take(MAX_CHANGES).collect();
        // All changes up to this one are in the answer.
        let mut revision = self.revision;
        if let Some(next) = changed.get(MAX_CHANGES) {
            revision = revision.min(next.revision - 1);
        }
        if let Some((next, _)) = self.logs.get(logs + MAX_CHANGES) {
            revision = revision.min(next - 1);
        }
        changed.retain(|kept| kept.revision <= revision);
        records.retain(|(number, _)| *number <= revision);

        let oldest = self.order.front().and_then(|id| self.traces.get(id)).map_or(0, |kept| kept.number);
        let mut out = format!(
            r#"{{"server":{started},"revision":{revision},"oldest":{oldest},"more":{},"stats":{{"spans":{},"forgotten":{}}},"traces":"#,
            revision < self.revision,
            self.spans,
            self.forgotten,
        );
        encode::list(&mut out, changed, |out, kept| {
            encode::trace(out, &kept.trace, &Summary::new(&kept.trace), kept.number, false);
        });
        out.push_str(",\"logs\":");
        encode::logs(&mut out, records.into_iter().rev().map(|(_, record)| record));
        if self.metrics_revision > after && self.metrics_revision <= revision {
            out.push_str(",\"metrics\":");
            encode::metrics(&mut out, &self.metrics);
        }
        out.push('}');
        out
    }

    /// Writes a trace with its spans, or `None` if it is unknown or was forgotten.
    pub(super) fn trace(&self, id: TraceId) -> Option<String> {
        let kept = self.traces.get(&id)?;
        let mut out = String::new();
        encode::trace(&mut out, &kept.trace, &Summary::new(&kept.trace), kept.number, true);
        Some(out)
    }

    /// Returns a line of counts, for the terminal.
    pub(super) fn facts(&self) -> String {
        let mut out = String::new();
        let mib = (self.trace_bytes + self.log_bytes) >> 20;
        let _ = write!(
            out,
            "{} spans received, {} traces kept in {mib} MiB, {} forgotten",
            self.spans,
            self.traces.len(),
            self.forgotten
        );
        out
    }
}

fn bound_point(mut point: MetricPoint) -> MetricPoint {
    let cut = |text: &str| {
        let mut end = text.len().min(MAX_SERIES_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    };
    bound_items(&mut point.attributes, MAX_SERIES_ITEMS);
    for (key, value) in &mut point.attributes {
        (*key, *value) = (cut(key), cut(value));
    }
    let Instrument { service, name, unit, description, kind } = &*point.instrument;
    point.instrument = Arc::new(Instrument {
        service: cut(service).into(),
        name: cut(name),
        unit: cut(unit),
        description: cut(description),
        kind,
    });
    point
}

fn size_of_span(span: &Span) -> usize {
    let events: usize =
        span.events.iter().map(|event| 48 + event.name.len() + size_of_pairs(&event.attributes)).sum();
    let links: usize = span.links.iter().map(|link| 48 + size_of_pairs(&link.attributes)).sum();
    let description = match &span.status {
        Status::Error { description } => description.len(),
        _ => 0,
    };
    size_of::<Span>()
        + span.name.len()
        + description
        + size_of_name(&span.service)
        + size_of_name(&span.scope)
        + size_of_pairs(&span.attributes)
        + events
        + links
}

fn size_of_log(record: &LogRecord) -> usize {
    size_of::<(u64, LogRecord)>()
        + record.body.len()
        + record.level.len()
        + size_of_name(&record.service)
        + size_of_pairs(&record.attributes)
}

/// Returns the size of a service's or scope's name. It is counted for each record, because each can have its own.
fn size_of_name(name: &str) -> usize {
    2 * size_of::<usize>() + name.len()
}

fn size_of_pairs(pairs: &[(String, String)]) -> usize {
    // Each text also has the overhead of an allocation.
    pairs.iter().map(|(key, value)| 2 * (size_of::<String>() + 16) + key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests;
