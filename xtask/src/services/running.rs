//! Servers of one step: they run until their guard is dropped, and no file records them.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::services::daemon::{self, Process};

/// Timeout from a server's start to its first successful health check.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guard: dropping it stops the server.
pub(crate) struct Running {
    name: &'static str,
    process: Process,
}

impl Running {
    /// Starts the command, with its output in the folder's log, and waits until the server answers.
    pub(crate) fn start(
        folder: &Path,
        name: &'static str,
        command: &mut Command,
        answers: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let running = Self { name, process: Process::start(command, folder)? };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match answers() {
                Ok(()) => return Ok(running),
                Err(error) => error,
            };
            if !running.process.is_running() || Instant::now() >= deadline {
                bail!("{name} did not start: {error:#}; {}", daemon::log_end(folder));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server before the guard is dropped.
    pub(crate) fn stop(&self) -> Result<()> {
        self.process.stop("TERM").with_context(|| format!("cannot stop {}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("error: {error:#}");
        }
    }
}
