//! The state of one signal's export: the last failure, for health and the log, and the records that a collector
//! rejected.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::config::Signal;

/// Interval between log events of one kind about one signal.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Shared by a signal's exporter, its queue, health and the shutdown.
#[derive(Debug)]
pub(crate) struct ExportStatus {
    signal: Signal,
    destination: String,
    /// The reason why the signal is not exported, if its destination cannot be used.
    off: Option<String>,
    state: Mutex<State>,
    retrying: AtomicBool,
    rejected: AtomicU64,
    closing: watch::Sender<bool>,
    /// Notified when the queue becomes full, and when an export begins to wait for its next attempt.
    pub(crate) pressure: Notify,
}

#[derive(Debug, Default)]
struct State {
    failure: Option<Failure>,
    /// True if the failure belongs to the export that is running.
    is_current: bool,
    reached: bool,
    failure_logged: Option<Instant>,
    rejection_logged: Option<Instant>,
}

/// A failure that no success has followed yet.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    since: Instant,
    pub(crate) cause: String,
    pub(crate) timed_out: bool,
}

impl ExportStatus {
    /// `destination` is part of log events and of the health, and must not contain secrets.
    pub(crate) fn new(signal: Signal, destination: String, off: Option<String>) -> Self {
        Self {
            signal,
            destination,
            off,
            state: Mutex::default(),
            retrying: AtomicBool::new(false),
            rejected: AtomicU64::new(0),
            closing: watch::Sender::new(false),
            pressure: Notify::new(),
        }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    pub(crate) fn destination(&self) -> &str {
        &self.destination
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an export, so that [`conclude`](Self::conclude) does not take an older failure for its cause.
    pub(crate) fn begin(&self) {
        self.state().is_current = false;
        self.set_retrying(false);
    }

    pub(crate) fn succeeded(&self) {
        let mut state = self.state();
        state.reached = true;
        let failure = state.failure.take();
        drop(state);
        if let Some(failure) = failure {
            tracing::info!(
                name: "export.recovered",
                signal = self.signal.name(),
                destination = self.destination,
                "export of {} to {} works again after {:.1?}; the last failure was: {}",
                self.signal,
                self.destination,
                failure.since.elapsed(),
                failure.cause,
            );
        }
    }

    /// Records a failed attempt, and logs the first one and then one a minute. `retry_in` is `None` if there is no
    /// further attempt for the same records.
    pub(crate) fn failed(&self, cause: String, timed_out: bool, retry_in: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.state();
        let since = state.failure.as_ref().map_or(now, |failure| failure.since);
        state.failure = Some(Failure { since, cause: cause.clone(), timed_out });
        state.is_current = true;
        let is_due = is_due(&mut state.failure_logged, now);
        drop(state);
        if !is_due {
            return;
        }
        let next = match retry_in {
            Some(delay) => format!("the next attempt is in {delay:.1?}"),
            None => "its records are lost".to_owned(),
        };
        tracing::warn!(
            name: "export.failed",
            signal = self.signal.name(),
            destination = self.destination,
            "export of {} to {} failed: {cause}; {next}",
            self.signal,
            self.destination,
        );
    }

    /// Returns the failure behind an error that an exporter returned. An exporter of another crate has not recorded
    /// it yet.
    pub(crate) fn conclude(&self, error: &dyn std::error::Error, timed_out: bool) -> Failure {
        let recorded = {
            let state = self.state();
            state.failure.clone().filter(|_| state.is_current)
        };
        recorded.unwrap_or_else(|| {
            let cause = chain(error);
            self.failed(cause.clone(), timed_out, None);
            Failure { since: Instant::now(), cause, timed_out }
        })
    }

    /// Counts records that the collector rejected although it accepted the export.
    pub(crate) fn rejected(&self, records: u64, reason: &str) {
        self.rejected.fetch_add(records, Ordering::Relaxed);
        let is_due = is_due(&mut self.state().rejection_logged, Instant::now());
        if is_due {
            tracing::warn!(
                name: "export.rejected",
                signal = self.signal.name(),
                destination = self.destination,
                records,
                "{} rejected {records} records of {}: {reason:?}",
                self.destination,
                self.signal,
            );
        }
    }

    /// Returns the number of rejected records since the last call.
    pub(crate) fn take_rejected(&self) -> u64 {
        self.rejected.swap(0, Ordering::Relaxed)
    }

    /// Returns a description of the current failure, for the health.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.off.is_some() {
            return self.off.clone();
        }
        let failure = self.state().failure.clone()?;
        Some(format!(
            "export of {} to {} has failed for {:.0?}: {}",
            self.signal,
            self.destination,
            failure.since.elapsed(),
            failure.cause
        ))
    }

    /// Returns true if the destination has accepted an export before.
    pub(crate) fn was_reached(&self) -> bool {
        self.state().reached
    }

    /// Sets if the running export waits for its next attempt.
    pub(crate) fn set_retrying(&self, retrying: bool) {
        self.retrying.store(retrying, Ordering::Relaxed);
        if retrying {
            self.pressure.notify_one();
        }
    }

    pub(crate) fn is_retrying(&self) -> bool {
        self.retrying.load(Ordering::Relaxed)
    }

    /// Announces the shutdown: waiting retries start immediately, and a destination that was never reached is not
    /// retried.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}

fn is_due(last: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= LOG_EVERY);
    if is_due {
        *last = Some(now);
    }
    is_due
}

/// Returns the texts of an error and of its sources, without sources that their error repeats.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_a_minute() {
        let start = Instant::now();
        let mut last = None;
        assert!(is_due(&mut last, start));
        assert!(!is_due(&mut last, start + Duration::from_secs(59)));
        assert!(is_due(&mut last, start + Duration::from_secs(60)));
        assert!(!is_due(&mut last, start + Duration::from_secs(61)));
    }

    #[test]
    fn a_chain_has_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("connect: refused")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("refused")]
        struct Inner(#[source] std::io::Error);
        let error = Outer(Inner(std::io::Error::other("no route")));
        assert_eq!(chain(&error), "connect: refused: no route");
    }
}
