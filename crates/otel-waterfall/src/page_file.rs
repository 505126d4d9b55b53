//! The page that a [`Waterfall`](crate::Waterfall) keeps up to date: a bounded number of traces in one file.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{model::Trace, page::html};

/// Maximum number of traces and spans on the page; the oldest are forgotten.
const MAX_TRACES: usize = 1_000;
const MAX_SPANS: usize = 20_000;

/// Minimum time between two writes, unless a flush asks for one.
const INTERVAL: Duration = Duration::from_secs(1);
/// Writing takes at most this share of the time.
const SHARE: u32 = 10;

#[derive(Debug)]
pub(crate) struct PageFile {
    path: PathBuf,
    traces: VecDeque<Trace>,
    spans: usize,
    has_changes: bool,
    next: Instant,
}

impl PageFile {
    /// Writes an empty page, so that a path that cannot be written is an error at the start.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        write(&path, &html(&[]))?;
        Ok(Self { path, traces: VecDeque::new(), spans: 0, has_changes: false, next: Instant::now() })
    }

    /// Adds traces; late spans are added to the trace that the page has already.
    pub(crate) fn add(&mut self, traces: &[Trace]) {
        for trace in traces {
            self.has_changes = true;
            self.spans += trace.spans.len();
            match self.traces.iter_mut().find(|known| known.id == trace.id) {
                Some(known) => {
                    known.spans.extend(trace.spans.iter().cloned());
                    known.not_kept += trace.not_kept;
                }
                None => self.traces.push_back(Trace { continued: false, ..trace.clone() }),
            }
        }
        while self.spans > MAX_SPANS && self.traces.len() > 1 || self.traces.len() > MAX_TRACES {
            self.spans -= self.traces.pop_front().map_or(0, |trace| trace.spans.len());
        }
        // One trace that grows is cut as well.
        if let Some(trace) = self.traces.front_mut().filter(|trace| trace.spans.len() > MAX_SPANS) {
            trace.not_kept += (trace.spans.len() - MAX_SPANS) as u64;
            trace.spans.truncate(MAX_SPANS);
            self.spans = self.traces.iter().map(|trace| trace.spans.len()).sum();
        }
    }

    /// Returns the time at which the changes are to be written, if there are any.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.has_changes.then_some(self.next)
    }

    /// Writes the changes if they are due, or in any case. A failed write is tried again with the next change.
    pub(crate) fn write(&mut self, in_any_case: bool) {
        let now = Instant::now();
        if !self.has_changes || !(in_any_case || now >= self.next) {
            return;
        }
        // The only place for a report would be the application's standard error, which is not ours.
        let _ = write(&self.path, &html(self.traces.make_contiguous()));
        self.has_changes = false;
        self.next = Instant::now() + INTERVAL.max(now.elapsed() * SHARE);
    }
}

/// Replaces the file at once, so that a browser never reads half a page.
fn write(path: &Path, page: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    fs::write(&temporary, page)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        // The error of the rename is the one to report.
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceId};

    use super::*;
    use crate::model::Span;

    fn trace(id: u128, spans: u64) -> Trace {
        let span = |number| Span::new(TraceId::from(id), SpanId::from(number), "x", 0, 1);
        Trace::group((1..=spans).map(span)).remove(0)
    }

    fn page() -> PageFile {
        PageFile {
            path: PathBuf::new(),
            traces: VecDeque::new(),
            spans: 0,
            has_changes: false,
            next: Instant::now(),
        }
    }

    #[test]
    fn the_oldest_traces_are_forgotten() {
        let mut page = page();
        for id in 1..=2_000 {
            page.add(&[trace(id, 1)]);
        }
        assert_eq!(
            (page.traces.len(), page.spans, page.traces[0].id),
            (MAX_TRACES, 1_000, TraceId::from(1_001))
        );
        page.add(&[trace(9_999, 20_000)]);
        assert_eq!((page.traces.len(), page.spans), (1, 20_000));
    }

    #[test]
    fn late_spans_join_their_trace() {
        let mut page = page();
        page.add(&[trace(1, 2)]);
        page.add(&[Trace { continued: true, ..trace(1, 1) }]);
        assert_eq!((page.traces.len(), page.traces[0].spans.len(), page.traces[0].continued), (1, 3, false));
    }

    #[test]
    fn one_trace_that_grows_is_cut() {
        let mut page = page();
        page.add(&[trace(1, 15_000)]);
        page.add(&[trace(1, 15_000)]);
        assert_eq!(
            (page.spans, page.traces[0].spans.len(), page.traces[0].not_kept),
            (MAX_SPANS, MAX_SPANS, 10_000)
        );
    }
}
