//! The reloadable sampler: reads its file again on request or when the file changes, while spans are started.
//!
//! The file is that of declarative configuration; see the module `file`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::file::{self, FileError, Stamp};
use super::{Node, Sampler};

/// Minimum interval of a watcher, because frequent checks of the file are expensive.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The sampler in use.
pub(super) struct Current(ArcSwap<Sampler>);

impl Current {
    pub(super) fn load(&self) -> Guard<Arc<Sampler>> {
        self.0.load()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

/// A sampler whose rules come from a file, and the handle that reads them again. Clones refer to the same sampler.
///
/// The file is JSON in the format of OpenTelemetry's [declarative
/// configuration](https://github.com/open-telemetry/opentelemetry-configuration). Only `tracer_provider.sampler` is
/// read; other members are ignored:
///
/// ```json
/// {
///   "file_format": "1.0",
///   "tracer_provider": { "sampler": { "parent_based": { "root": {
///     "composite/development": { "rule_based": { "rules": [
///     { "span_name": "GET /health*", "sampler": { "always_off": null } },
///     { "service": "orders", "span_kinds": ["server"],
///       "attribute_values": { "key": "http.route", "values": ["/checkout"] }, "sampler": { "always_on": null } },
///     { "sampler": { "adaptive": { "traces_per_second": 20 } } }
///   ] } } } } } }
/// }
/// ```
///
/// Samplers are `always_on`, `always_off`, `trace_id_ratio_based` (also `probability/development`), `parent_based`,
/// `adaptive` and `composite/development`. Inside the latter they are `always_on`, `always_off`, `probability`,
/// `parent_threshold`, `rule_based` and `adaptive`, which always write `th`. Unknown names, values out of range and
/// empty lists are errors.
///
/// A reload does not block the start of spans: the rules are replaced atomically. An invalid file changes nothing. A
/// reload with a changed text starts the estimate of `adaptive` anew; a reload with the same text changes nothing.
#[derive(Clone)]
pub struct Reloadable(Arc<Shared>);

struct Shared {
    path: PathBuf,
    service: Box<str>,
    current: Arc<Current>,
    read: Mutex<Read>,
}

/// The last read of the file; its lock serializes reloads.
struct Read {
    /// The text of the rules in use; `None` if they do not come from the file.
    text: Option<String>,
    stamp: Stamp,
}

impl Reloadable {
    /// Reads the rules of this file, for the service with this name: rules for other services are skipped.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or is invalid. Use [`with_initial`](Self::with_initial) to start
    /// nevertheless.
    pub fn open(path: impl Into<PathBuf>, service: &str) -> Result<Self, FileError> {
        let reloadable = Self::with_initial(path, service, Sampler::never());
        reloadable.reload()?;
        Ok(reloadable)
    }

    /// Uses this sampler until [`reload`](Self::reload) or a watcher reads the file.
    #[must_use]
    pub fn with_initial(path: impl Into<PathBuf>, service: &str, initial: impl Into<Sampler>) -> Self {
        Self(Arc::new(Shared {
            path: path.into(),
            service: service.into(),
            current: Arc::new(Current(ArcSwap::from_pointee(initial.into()))),
            read: Mutex::new(Read { text: None, stamp: Stamp::MISSING }),
        }))
    }

    /// Returns the sampler, which always applies the current rules.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        Sampler(Node::Reloadable(Arc::clone(&self.0.current)))
    }

    /// Reads the file and applies its rules. Returns `false` if the text is unchanged.
    ///
    /// Blocks while the file is read and while another reload runs.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or is invalid; the current rules remain.
    pub fn reload(&self) -> Result<bool, FileError> {
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.reload(&mut read)
    }

    /// Watches the file on its own thread: checks its modification time and length every `interval` (at least 10 ms),
    /// and reloads it if either has changed since the last read. `on_reload` receives the result of each attempt,
    /// once for each change, and should log it.
    ///
    /// Watching ends when the [`Watcher`] is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread cannot be started.
    pub fn watch(
        &self,
        interval: Duration,
        mut on_reload: impl FnMut(Result<bool, FileError>) + Send + 'static,
    ) -> io::Result<Watcher> {
        let interval = interval.max(MIN_INTERVAL);
        let shared = Arc::clone(&self.0);
        let (stop, stopped) = mpsc::channel::<()>();
        let watch = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Some(outcome) = shared.reload_if_changed() {
                    on_reload(outcome);
                }
            }
        };
        let thread = thread::Builder::new().name("otel-sampler-watch".to_owned()).spawn(watch)?;
        Ok(Watcher { stop: Some(stop), thread: Some(thread) })
    }
}

impl fmt::Debug for Reloadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloadable")
            .field("path", &self.0.path)
            .field("service", &self.0.service)
            .field("current", &self.0.current)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn reload_if_changed(&self) -> Option<Result<bool, FileError>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        (Stamp::read(&self.path) != read.stamp).then(|| self.reload(&mut read))
    }

    fn reload(&self, read: &mut Read) -> Result<bool, FileError> {
        // Taken before the read, so that the next check detects a change during the read.
        read.stamp = Stamp::read(&self.path);
        let text = file::read(&self.path)?;
        if read.text.as_ref() == Some(&text) {
            return Ok(false);
        }
        let sampler = file::parse(&self.path, &text, &self.service)?;
        self.current.0.store(Arc::new(sampler));
        read.text = Some(text);
        Ok(true)
    }
}

/// Keeps a file watched. Dropping it ends the watch, and waits for a running reload.
#[derive(Debug)]
#[must_use = "watching ends when this is dropped"]
pub struct Watcher {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread waits on the other end of this channel, and ends when it is closed.
        self.stop = None;
        // A callback that drops its own watcher must not join its own thread.
        if let Some(thread) =
            self.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
        {
            // A panicked callback has ended the thread, as wanted.
            let _ = thread.join();
        }
    }
}
