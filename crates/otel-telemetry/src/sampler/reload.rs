//! A sampler that is read from a file again while spans are started, on request or by watching the file.
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

/// A shorter interval than this would cost more than it could tell.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The sampler that is in force.
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

/// A sampler whose rules come from a file, and the handle to read them again. Clones are handles to the same sampler.
///
/// The file is JSON in the shape of OpenTelemetry's declarative configuration, of which `tracer_provider.sampler` is
/// read and the rest is left to others:
///
/// ```json
/// {
///   "file_format": "1.0",
///   "tracer_provider": { "sampler": { "parent_based": { "root": { "composite/development": { "rule_based": { "rules": [
///     { "span_name": "GET /health*", "sampler": { "always_off": null } },
///     { "service": "orders", "span_kinds": ["server"],
///       "attribute_values": { "key": "http.route", "values": ["/checkout"] }, "sampler": { "always_on": null } },
///     { "sampler": { "adaptive": { "traces_per_second": 20 } } }
///   ] } } } } } }
/// }
/// ```
///
/// Samplers are `always_on`, `always_off`, `trace_id_ratio_based` (also `probability/development`), `parent_based`,
/// `adaptive` and `composite/development`; inside the latter `always_on`, `always_off`, `probability`,
/// `parent_threshold`, `rule_based` and `adaptive`, which always write `th`. Unknown names, values out of range and
/// empty lists are errors.
///
/// While spans are started nothing waits: the rules in force are replaced as a whole. The rules of a file that cannot
/// be used are never taken in part, and those in force stay. An `adaptive` that is read anew starts its estimate anew;
/// a file whose text is the same changes nothing.
#[derive(Clone)]
pub struct Reloadable(Arc<Shared>);

struct Shared {
    path: PathBuf,
    service: Box<str>,
    current: Arc<Current>,
    read: Mutex<Read>,
}

/// What was last read; behind the lock that lets one reload happen at a time.
struct Read {
    /// The text of the rules in force; `None` while they come from no file.
    text: Option<String>,
    stamp: Stamp,
}

impl Reloadable {
    /// Reads the rules of this file, for the service of this name: rules for other services are left out.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or used. Use [`with_initial`](Self::with_initial) to start all the same.
    pub fn open(path: impl Into<PathBuf>, service: &str) -> Result<Self, FileError> {
        let reloadable = Self::with_initial(path, service, Sampler::never());
        reloadable.reload()?;
        Ok(reloadable)
    }

    /// Starts with this sampler, until [`reload`](Self::reload) or a watcher reads the file.
    #[must_use]
    pub fn with_initial(path: impl Into<PathBuf>, service: &str, initial: impl Into<Sampler>) -> Self {
        Self(Arc::new(Shared {
            path: path.into(),
            service: service.into(),
            current: Arc::new(Current(ArcSwap::from_pointee(initial.into()))),
            read: Mutex::new(Read { text: None, stamp: Stamp::MISSING }),
        }))
    }

    /// The sampler, which always has the rules that are in force.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        Sampler(Node::Reloadable(Arc::clone(&self.0.current)))
    }

    /// Reads the file and puts its rules in force; `false` where its text is the one that is in force already.
    ///
    /// This blocks for as long as reading the file takes, and while another reload is under way.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or used; the rules in force stay.
    pub fn reload(&self) -> Result<bool, FileError> {
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.reload(&mut read)
    }

    /// Watches the file on a thread of its own: looks every `interval` (at least 10 ms) at the time of its last change
    /// and its length, and reloads it if they are others than when it was last read. `on_reload` is told what came of
    /// each attempt, once for each change: log it.
    ///
    /// Watching ends when the [`Watcher`] is dropped.
    ///
    /// # Errors
    ///
    /// Where the system does not give a thread.
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
        (Stamp::of(&self.path) != read.stamp).then(|| self.reload(&mut read))
    }

    fn reload(&self, read: &mut Read) -> Result<bool, FileError> {
        // From before the reading: a change that comes in between makes the next look see another stamp.
        read.stamp = Stamp::of(&self.path);
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

/// Keeps a file watched; dropping it ends that, and waits for a reload that is under way.
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
        // A watcher that its own callback drops must not wait for itself.
        if let Some(thread) =
            self.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
        {
            // A callback that panicked has ended the thread, which is what is wanted here.
            let _ = thread.join();
        }
    }
}
