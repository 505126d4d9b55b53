//! The account of one queue, and what the application can read of it.
//!
//! Names of reasons follow the semantic conventions for SDK metrics (`error.type` of
//! `otel.sdk.processor.span.processed` and `otel.sdk.exporter.span.exported`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

/// What became of the records of one signal. Once everything is drained, `ended` = `accepted` + `dropped.total()`, and
/// `pending` is zero. While records come and go, the numbers are read one after the other and need not add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Spans that ended, or log records that were emitted, and reached the batch.
    pub ended: u64,
    /// Records in exports that the exporter reported as successful. What a collector then rejects by an OTLP *partial
    /// success* is among them, since exporters report that as success.
    pub accepted: u64,
    /// Records that wait or are being exported.
    pub pending: u64,
    /// Records that were lost, by reason.
    pub dropped: Drops,
}

/// Why records were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drops {
    /// The queue was full.
    pub queue_full: u64,
    /// They came when the telemetry was being shut down or was down, or the deadline of the shutdown gave them up.
    pub shut_down: u64,
    /// The exporter returned an error.
    pub failed: u64,
    /// The export took longer than its timeout.
    pub timed_out: u64,
}

impl Drops {
    /// All reasons together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queue_full + self.shut_down + self.failed + self.timed_out
    }
}

/// The live counters behind [`Counts`], and the health of the exporter as its last export showed it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    ended: AtomicU64,
    accepted: AtomicU64,
    pending: AtomicU64,
    queue_full: AtomicU64,
    shut_down: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    busy: AtomicBool,
    failing: AtomicBool,
}

/// How an export ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    Accepted,
    Failed,
    TimedOut,
    GivenUp,
}

impl Account {
    pub(crate) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Before a record goes into the queue, so that it cannot leave before it was counted in.
    pub(crate) fn enter(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// The record found no place after all.
    pub(crate) fn leave(&self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn queue_full(&self) {
        self.queue_full.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.shut_down.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn exported(&self, records: usize, export: Export) {
        let counter = match export {
            Export::Accepted => &self.accepted,
            Export::Failed => &self.failed,
            Export::TimedOut => &self.timed_out,
            Export::GivenUp => &self.shut_down,
        };
        counter.fetch_add(records as u64, Ordering::Relaxed);
        self.pending.fetch_sub(records as u64, Ordering::Relaxed);
        self.failing.store(export != Export::Accepted, Ordering::Relaxed);
    }

    /// Whether the worker is exporting, and so will look at the queue again without being woken.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    /// Whether the last export did not succeed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            ended: read(&self.ended),
            accepted: read(&self.accepted),
            pending: read(&self.pending),
            dropped: Drops {
                queue_full: read(&self.queue_full),
                shut_down: read(&self.shut_down),
                failed: read(&self.failed),
                timed_out: read(&self.timed_out),
            },
        }
    }
}
