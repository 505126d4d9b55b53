//! A subscriber that keeps the lines of all events, for tests of alerts.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Makes `subscriber` the default of this thread, on which the complete test runs.
///
/// While a process has one subscriber, `tracing` asks the default of the thread that reaches an event first, and that is
/// none in the other tests: the event would be off for good. A global default, which is for every thread, prevents that.
pub(crate) fn set_default(subscriber: impl Into<tracing::Dispatch>) -> tracing::subscriber::DefaultGuard {
    // It fails after the first call.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    tracing::dispatcher::set_default(&subscriber.into())
}
