//! The handle that a user holds, and the thread that draws what has become complete.

use std::{
    fmt,
    io::Write,
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
    style::{Color, Style, Terminal},
    text::text,
};

/// Gathers spans and draws each trace once it is complete.
///
/// A clone is another handle to the same picture: settings made on one hold for all. Each service in the process has
/// its own [`exporter`](Self::exporter).
///
/// A trace is drawn when nothing has arrived for a tenth of the [quiet time](Self::with_quiet) and its root and all
/// parents are there; after the whole quiet time, if its caller is elsewhere; after ten times that, if a parent in this
/// process is missing, because it has not ended or was not sampled. What is left is drawn when the last exporter is
/// shut down or the last handle is dropped. A writer that fails loses that text, and nothing else happens.
#[derive(Clone)]
pub struct Waterfall {
    handle: Arc<Handle>,
}

impl Waterfall {
    /// Draws on the standard output, in the width of the terminal, in colours where it has them.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(Box::new(std::io::stdout()), true)
    }

    /// Draws to a writer, 100 columns wide and without colours unless told otherwise.
    ///
    /// The writer is called from a thread of this crate, from [`flush`](Self::flush), and where the last exporter is
    /// shut down; it must not call [`flush`](Self::flush) itself.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self::new(Box::new(writer), false)
    }

    fn new(writer: Box<dyn Write + Send>, is_stdout: bool) -> Self {
        let core = Core {
            state: Mutex::default(),
            wake: Condvar::new(),
            output: Mutex::new(Output { writer, is_stdout }),
        };
        Self { handle: Arc::new(Handle { core: Arc::new(core) }) }
    }

    /// How long nothing must arrive before a trace is drawn; see [above](Self) for how this is applied. One second by
    /// default. With batch processors it must be longer than the time between their batches (5 s by default) for the
    /// spans of several services to come together.
    #[must_use]
    pub fn with_quiet(self, quiet: Duration) -> Self {
        self.set(|state| state.gathering.limits.quiet = quiet)
    }

    /// How many traces are gathered at the same time; spans of more are not kept, which is counted and said. 1,000 by
    /// default.
    #[must_use]
    pub fn with_max_traces(self, traces: usize) -> Self {
        self.set(|state| state.gathering.limits.max_traces = traces)
    }

    /// How many spans are held at the same time, over all traces; more are not kept, which is counted and said. An
    /// eighth of it is for roots and parents of held spans alone. 20,000 by default.
    #[must_use]
    pub fn with_max_spans(self, spans: usize) -> Self {
        self.set(|state| state.gathering.limits.max_spans = spans)
    }

    /// Draws this many columns wide, from 40 to 1,000.
    #[must_use]
    pub fn with_width(self, columns: usize) -> Self {
        self.styled(|style| style.with_width(columns))
    }

    /// Says when to use colours.
    #[must_use]
    pub fn with_color(self, color: Color) -> Self {
        self.styled(|style| style.with_color(color))
    }

    /// Lists each span's events beneath it.
    #[must_use]
    pub fn with_events(self) -> Self {
        self.styled(Style::with_events)
    }

    /// Lists attributes beneath each span; see [`Style::with_attributes`].
    #[must_use]
    pub fn with_attributes<K: Into<String>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        self.styled(|style| style.with_attributes(keys))
    }

    /// Draws at most this many rows of a trace; see [`Style::with_max_rows`]. 200 by default.
    #[must_use]
    pub fn with_max_rows(self, rows: usize) -> Self {
        self.styled(|style| style.with_max_rows(rows))
    }

    fn styled(self, change: impl FnOnce(Style) -> Style) -> Self {
        self.set(|state| state.style = change(std::mem::take(&mut state.style)))
    }

    fn set(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut lock(&self.handle.core.state));
        // What is due, and when, may be different now.
        self.handle.core.wake.notify_one();
        self
    }

    /// An exporter for one service's tracer provider; each provider needs its own, for it carries that provider's
    /// `service.name`.
    #[must_use]
    pub fn exporter(&self) -> Exporter {
        lock(&self.handle.core.state).exporters += 1;
        Exporter::new(Arc::clone(&self.handle))
    }

    /// Draws all that has arrived, complete or not, before it returns.
    ///
    /// Spans that a batch processor still holds have not arrived: call its provider's `force_flush` first.
    pub fn flush(&self) {
        self.handle.core.draw(Gathering::take_all);
    }

    /// How many spans were not kept because a limit was reached, since the beginning.
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

/// What all handles share; the thread does not have it, so that it ends with the last of them.
pub(crate) struct Handle {
    core: Arc<Core>,
}

impl Handle {
    /// Takes spans in and wakes the thread if it would sleep too long.
    pub(crate) fn add(&self, spans: impl IntoIterator<Item = Span>) {
        let mut state = lock(&self.core.state);
        let now = Instant::now();
        let due = spans.into_iter().filter_map(|span| state.gathering.add(span, now)).min();
        let Some(due) = due else { return };
        if !state.has_thread {
            // Without a thread there is still `flush`.
            state.has_thread = Core::start(&self.core);
        } else if state.wakes_at.is_none_or(|wakes_at| due < wakes_at) {
            self.core.wake.notify_one();
        }
    }

    /// An exporter has been shut down or dropped; the last one draws what is left.
    pub(crate) fn close_exporter(&self, open: &AtomicBool) {
        if open.swap(false, Ordering::AcqRel) {
            let mut state = lock(&self.core.state);
            state.exporters -= 1;
            let last = state.exporters == 0;
            drop(state);
            if last {
                self.core.draw(Gathering::take_all);
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.core.state).closed = true;
        self.core.wake.notify_one();
        self.core.draw(Gathering::take_all);
    }
}

struct Core {
    state: Mutex<State>,
    wake: Condvar,
    /// Locked before `state` where both are, so that whoever waits for it has everything drawn that was taken before.
    output: Mutex<Output>,
}

#[derive(Default)]
struct State {
    gathering: Gathering,
    style: Style,
    exporters: usize,
    has_thread: bool,
    wakes_at: Option<Instant>,
    closed: bool,
}

struct Output {
    writer: Box<dyn Write + Send>,
    is_stdout: bool,
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
            let due = state.gathering.next_due();
            state.wakes_at = due;
            state = match due {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) if due > now => {
                    self.wake.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    drop(state);
                    self.draw(|gathering| gathering.take_due(Instant::now()));
                    lock(&self.state)
                }
            };
        }
    }

    /// Draws what is taken out of the gathering, in one piece.
    fn draw(&self, take: impl FnOnce(&mut Gathering) -> Vec<Trace>) {
        // A writer with instrumentation of its own must not make spans of the drawing of spans.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let mut output = lock(&self.output);
        let (traces, unsaid, style) = {
            let mut state = lock(&self.state);
            (take(&mut state.gathering), state.gathering.take_unsaid(), state.style.clone())
        };
        if traces.is_empty() && unsaid == 0 {
            return;
        }
        let terminal = if output.is_stdout { Terminal::of_stdout() } else { Terminal::default() };
        let style = style.decided(&terminal);
        for trace in traces {
            let mut picture = text(&trace, &style);
            picture.push('\n');
            // Nobody can be told that the place for telling is gone.
            let _ = output.writer.write_all(picture.as_bytes());
        }
        if unsaid > 0 {
            let note = format!("{} of other traces not kept: too many at once\n\n", count(unsaid, "span"));
            let _ = output.writer.write_all(note.as_bytes());
        }
        let _ = output.writer.flush();
    }
}

/// A panic elsewhere leaves nothing here half done that matters to a picture.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
