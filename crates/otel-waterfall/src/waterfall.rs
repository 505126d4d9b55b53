//! The user's handle, and the thread that draws traces when they are due.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::Context;

use crate::{
    exporter::Exporter,
    gather::Gathering,
    layout::count,
    model::{Span, Trace},
    page_file::PageFile,
    style::{Color, Style, Terminal},
    text::text,
};

/// Gathers spans and draws each trace when it is complete.
///
/// A clone is another handle to the same waterfall: settings apply to all handles. Each service in the process has
/// its own [`exporter`](Self::exporter).
///
/// A trace is drawn when its root and all parents have arrived and no span has arrived for a tenth of the [quiet
/// time](Self::with_quiet); after the full quiet time if its caller is in another process; after ten times the quiet
/// time if a parent in this process is missing, because it has not ended or was not sampled. The remaining traces are
/// drawn when the last exporter is shut down or the last handle is dropped. Errors of the writer are ignored; the
/// text is lost.
#[derive(Clone)]
pub struct Waterfall {
    handle: Arc<Handle>,
}

impl Waterfall {
    /// Draws to the standard output, as wide as the terminal, in colours if it supports them.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(Some(Box::new(io::stdout())), true)
    }

    /// Draws to a writer, by default 100 columns wide and without colours.
    ///
    /// The writer is called on a thread of this crate, in [`flush`](Self::flush), and on the thread that shuts down
    /// the last exporter or drops the last handle. It must not call [`flush`](Self::flush), which would deadlock.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self::new(Some(Box::new(writer)), false)
    }

    /// Draws on a page, an HTML file that needs nothing else, and nowhere else; see [`with_html`](Self::with_html).
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn html(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::new(None, false).with_html(path)
    }

    /// Also draws on a page, an HTML file that needs nothing else. It is replaced about once a second while traces
    /// arrive, and by [`flush`](Self::flush); a browser shows the new traces when it is reloaded. It has the last 1,000
    /// traces, with at most 20,000 spans together. Later errors of the file are ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn with_html(self, path: impl Into<PathBuf>) -> io::Result<Self> {
        let page = PageFile::create(path.into())?;
        lock(&self.handle.core.output).page = Some(page);
        Ok(self)
    }

    fn new(writer: Option<Box<dyn Write + Send>>, is_stdout: bool) -> Self {
        let core = Core {
            state: Mutex::default(),
            wake: Condvar::new(),
            output: Mutex::new(Output { writer, is_stdout, page: None }),
        };
        Self { handle: Arc::new(Handle { core: Arc::new(core) }) }
    }

    /// Sets the quiet time, after which a trace without new spans is drawn; see [above](Self). Default: 1 s. With
    /// batch processors it must be longer than their interval (5 s by default), otherwise the spans of several
    /// services are drawn apart.
    #[must_use]
    pub fn with_quiet(self, quiet: Duration) -> Self {
        self.set(|state| state.gathering.limits.quiet = quiet)
    }

    /// Sets the maximum number of traces gathered at the same time. Spans of further traces are not kept; they are
    /// counted and reported. Default: 1,000.
    #[must_use]
    pub fn with_max_traces(self, traces: usize) -> Self {
        self.set(|state| state.gathering.limits.max_traces = traces)
    }

    /// Sets the maximum number of spans held at the same time, over all traces. Further spans are not kept; they are
    /// counted and reported. One eighth is reserved for roots and for parents of held spans. Default: 20,000.
    #[must_use]
    pub fn with_max_spans(self, spans: usize) -> Self {
        self.set(|state| state.gathering.limits.max_spans = spans)
    }

    /// Sets the width in columns, from 40 to 1,000.
    #[must_use]
    pub fn with_width(self, columns: usize) -> Self {
        self.styled(|style| style.with_width(columns))
    }

    /// Sets the use of colours.
    #[must_use]
    pub fn with_color(self, color: Color) -> Self {
        self.styled(|style| style.with_color(color))
    }

    /// Lists the events of each span beneath it.
    #[must_use]
    pub fn with_events(self) -> Self {
        self.styled(Style::with_events)
    }

    /// Lists attributes beneath each span; see [`Style::with_attributes`].
    #[must_use]
    pub fn with_attributes<K: Into<String>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        self.styled(|style| style.with_attributes(keys))
    }

    /// Sets the maximum number of rows of a trace; see [`Style::with_max_rows`]. Default: 200.
    #[must_use]
    pub fn with_max_rows(self, rows: usize) -> Self {
        self.styled(|style| style.with_max_rows(rows))
    }

    fn styled(self, change: impl FnOnce(Style) -> Style) -> Self {
        self.set(|state| state.style = change(std::mem::take(&mut state.style)))
    }

    fn set(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut lock(&self.handle.core.state));
        // The change can make a trace due earlier than the thread would wake.
        self.handle.core.wake.notify_one();
        self
    }

    /// Creates an exporter for one tracer provider. Each provider needs its own, because an exporter has the
    /// `service.name` of one provider.
    #[must_use]
    pub fn exporter(&self) -> Exporter {
        lock(&self.handle.core.state).exporters += 1;
        Exporter::new(Arc::clone(&self.handle))
    }

    /// Draws all spans that have arrived, complete or not, before it returns.
    ///
    /// Spans that a batch processor still holds have not arrived: call the provider's `force_flush` first.
    pub fn flush(&self) {
        self.handle.core.draw(Gathering::take_all, true);
    }

    /// Returns the number of spans that were not kept because a limit was reached, since the start.
    #[must_use]
    pub fn not_kept(&self) -> u64 {
        lock(&self.handle.core.state).gathering.not_kept()
    }
}

impl fmt::Debug for Waterfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waterfall").finish_non_exhaustive()
    }
}

/// The state that all handles and exporters share. The thread holds only the [`Core`], so that it ends with the last
/// of them.
pub(crate) struct Handle {
    core: Arc<Core>,
}

impl Handle {
    /// Adds spans, and wakes the thread if a trace is due before it would wake.
    pub(crate) fn add(&self, spans: impl IntoIterator<Item = Span>) {
        let mut state = lock(&self.core.state);
        let now = Instant::now();
        let due = spans.into_iter().filter_map(|span| state.gathering.add(span, now)).min();
        let Some(due) = due else { return };
        if !state.has_thread {
            // If the thread cannot be started, `flush` still draws.
            state.has_thread = Core::start(&self.core);
        } else if state.wakes_at.is_none_or(|wakes_at| due < wakes_at) {
            self.core.wake.notify_one();
        }
    }

    /// Closes an exporter that is shut down or dropped; the last one draws the remaining spans.
    pub(crate) fn close_exporter(&self, open: &AtomicBool) {
        if open.swap(false, Ordering::AcqRel) {
            let mut state = lock(&self.core.state);
            state.exporters -= 1;
            let last = state.exporters == 0;
            drop(state);
            if last {
                self.core.draw(Gathering::take_all, true);
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.core.state).closed = true;
        self.core.wake.notify_one();
        self.core.draw(Gathering::take_all, true);
    }
}

struct Core {
    state: Mutex<State>,
    wake: Condvar,
    /// Locked before `state` if both are, so that a caller that waits for it finds all earlier traces drawn.
    output: Mutex<Output>,
}

#[derive(Default)]
struct State {
    gathering: Gathering,
    style: Style,
    exporters: usize,
    has_thread: bool,
    wakes_at: Option<Instant>,
    /// The time at which drawn traces are to be written to the page.
    page_due: Option<Instant>,
    closed: bool,
}

struct Output {
    writer: Option<Box<dyn Write + Send>>,
    is_stdout: bool,
    page: Option<PageFile>,
}

impl Core {
    fn start(core: &Arc<Self>) -> bool {
        let core = Arc::clone(core);
        std::thread::Builder::new().name("otel-waterfall".to_owned()).spawn(move || core.run()).is_ok()
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.closed {
            let now = Instant::now();
            let due = [state.gathering.next_due(), state.page_due].into_iter().flatten().min();
            state.wakes_at = due;
            state = match due {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) if due > now => {
                    self.wake.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    drop(state);
                    self.draw(|gathering| gathering.take_due(Instant::now()), false);
                    lock(&self.state)
                }
            };
        }
    }

    /// Draws the traces that `take` removes, without interleaving with other calls. The page is written if it is due, or
    /// in any case if `flushes` is true.
    fn draw(&self, take: impl FnOnce(&mut Gathering) -> Vec<Trace>, flushes: bool) {
        // An instrumented writer must not record spans while spans are drawn.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let mut output = lock(&self.output);
        let (traces, unsaid, style) = {
            let mut state = lock(&self.state);
            (take(&mut state.gathering), state.gathering.take_unsaid(), state.style.clone())
        };
        output.draw(&traces, unsaid, &style);
        if let Some(page) = &mut output.page {
            page.add(&traces);
            page.write(flushes);
            lock(&self.state).page_due = page.due();
        }
    }
}

impl Output {
    fn draw(&mut self, traces: &[Trace], unsaid: u64, style: &Style) {
        let Some(writer) = self.writer.as_mut().filter(|_| !traces.is_empty() || unsaid > 0) else { return };
        let terminal = if self.is_stdout { Terminal::of_stdout() } else { Terminal::default() };
        let style = style.decided(&terminal);
        for trace in traces {
            let mut picture = text(trace, &style);
            picture.push('\n');
            // A failed write cannot be reported: the writer is the only output.
            let _ = writer.write_all(picture.as_bytes());
        }
        if unsaid > 0 {
            let note = format!("{} of other traces not kept: too many at once\n\n", count(unsaid, "span"));
            let _ = writer.write_all(note.as_bytes());
        }
        let _ = writer.flush();
    }
}

/// Locks a mutex and ignores poisoning: no panic leaves this state inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
