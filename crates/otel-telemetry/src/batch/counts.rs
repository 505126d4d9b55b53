//! The counters of one queue, and the snapshot that the application can read.
//!
//! Names of reasons follow the [semantic conventions for SDK
//! metrics](https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/) (`error.type` of
//! `otel.sdk.processor.span.processed` and `otel.sdk.exporter.span.exported`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The outcomes of the records of one signal. Once everything is drained, `ended` equals `accepted` plus
/// `dropped.total()`, and `pending` is zero. Before that the counters are read one after another and need not add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Spans that ended, or log records that were emitted, and that reached the batch processor.
    pub ended: u64,
    /// Records that the exporter reported as successful, without those that a collector rejected by an OTLP [partial
    /// success](https://opentelemetry.io/docs/specs/otlp/#partial-success).
    pub accepted: u64,
    /// Records that wait in the queue or are being exported.
    pub pending: u64,
    /// Lost records, by reason.
    pub dropped: Drops,
}

/// Lost records, by the reason of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drops {
    /// The queue was full. New records are dropped, but while an export waits for its next attempt, its batch is, which is
    /// the oldest one.
    pub queue_full: u64,
    /// The record arrived during or after the shutdown, or the deadline of the shutdown cancelled its export.
    pub shut_down: u64,
    /// The exporter returned an error or panicked.
    pub failed: u64,
    /// The export took longer than its timeout.
    pub timed_out: u64,
    /// The collector accepted the export, but rejected these records by an OTLP partial success.
    pub rejected: u64,
}

impl Drops {
    /// Returns the sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queue_full + self.shut_down + self.failed + self.timed_out + self.rejected
    }
}

/// The atomic counters behind [`Counts`].
#[derive(Debug, Default)]
pub(crate) struct Account {
    ended: AtomicU64,
    accepted: AtomicU64,
    pending: AtomicU64,
    queue_full: AtomicU64,
    shut_down: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    rejected: AtomicU64,
    busy: AtomicBool,
    /// True after the shutdown has counted the records of an exporter that did not return.
    abandoned: Mutex<bool>,
}

/// The outcome of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    /// Accepted, except for this number of rejected records.
    Accepted {
        rejected: u64,
    },
    /// Dropped to make room while it waited for a retry.
    Displaced,
    Failed,
    TimedOut,
    GivenUp,
}

impl Account {
    pub(crate) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a record as pending; called before the record enters the queue, so that the count cannot become
    /// negative.
    pub(crate) fn enter(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// Undoes [`enter`](Self::enter) for a record that the queue rejected.
    pub(crate) fn leave(&self) {
        // The count is zero after `abandon`.
        let minus_one = |pending: u64| pending.checked_sub(1);
        let _ = self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, minus_one);
    }

    pub(crate) fn queue_full(&self) {
        self.queue_full.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.shut_down.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn exported(&self, records: usize, export: Export) {
        let abandoned = self.lock_abandoned();
        if *abandoned {
            return;
        }
        let mut records = records as u64;
        self.pending.fetch_sub(records, Ordering::Relaxed);
        let counter = match export {
            Export::Accepted { rejected } => {
                let rejected = rejected.min(records);
                self.rejected.fetch_add(rejected, Ordering::Relaxed);
                records -= rejected;
                &self.accepted
            }
            Export::Displaced => &self.queue_full,
            Export::Failed => &self.failed,
            Export::TimedOut => &self.timed_out,
            Export::GivenUp => &self.shut_down,
        };
        counter.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts all pending records as dropped, because the exporter blocks its thread beyond the deadline of the
    /// shutdown. Its later result is ignored.
    pub(crate) fn abandon(&self) {
        let mut abandoned = self.lock_abandoned();
        *abandoned = true;
        let pending = self.pending.swap(0, Ordering::Relaxed);
        self.shut_down.fetch_add(pending, Ordering::Relaxed);
    }

    fn lock_abandoned(&self) -> MutexGuard<'_, bool> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true while the worker exports: it then checks the queue again without being woken.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
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
                rejected: read(&self.rejected),
            },
        }
    }
}
