//! The worker of a queue: collects batches, exports them under a timeout, counts, and logs a warning once a minute.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::sync::mpsc;

use super::counts::Export;
use super::{Command, Drops, Intake, Shared};

/// Interval between warnings about lost records.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// An exporter for records of one kind. The SDK has one trait for each signal, and none is dyn compatible.
pub(crate) trait Deliver<T>: Send + Sync + 'static {
    fn deliver(&self, batch: Vec<T>) -> Pin<Box<dyn Future<Output = OTelSdkResult> + Send + '_>>;
    fn flush(&self) -> OTelSdkResult;
    fn shut_down(&self);
    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource);
}

/// A boxed exporter for records of one kind.
pub(crate) type DynDeliver<T> = Box<dyn Deliver<T>>;

/// Runs the queue of one signal until it is closed. The task must not be dropped earlier, because waiting records
/// would be neither exported nor counted.
pub(crate) async fn run<T: Send + 'static>(mut intake: Intake<T>, exporter: DynDeliver<T>) {
    let shared = std::sync::Arc::clone(&intake.shared);
    let signal = shared.status.signal().name();
    let exporter = &*exporter;
    let mut warning = Warning::default();
    let options = shared.options.clone();
    let mut next = tokio::time::Instant::now() + options.schedule_delay;
    // The result of the export during which a command has arrived: the command concerns its records too.
    let mut interrupted = Ok(());
    loop {
        let command = tokio::select! {
            biased;
            command = intake.commands.recv() => Some(command),
            () = shared.full_batch.notified() => None,
            () = tokio::time::sleep_until(next) => None,
        };
        match command {
            None => {
                let due = tokio::time::Instant::now() >= next;
                // Set before the queue is checked: a producer that sees the worker busy has put its record into the
                // queue before the last check of this loop.
                shared.account.set_busy(true);
                // All that waits now is exported, so that the whole queue is free for the next burst. What arrives meanwhile
                // waits for a full batch.
                let mut left = intake.records.len();
                while left > 0 || intake.records.len() >= options.max_batch_size {
                    let batch = at_hand(&mut intake, options.max_batch_size);
                    left = left.saturating_sub(batch.len().max(1));
                    let exported = export(batch, &mut intake, exporter).await;
                    if !intake.commands.is_empty() {
                        interrupted = exported;
                        break;
                    }
                }
                shared.account.set_busy(false);
                if intake.records.len() >= options.max_batch_size {
                    shared.full_batch.notify_one();
                }
                if due || intake.records.is_empty() {
                    next = tokio::time::Instant::now() + options.schedule_delay;
                }
            }
            Some(Some(Command::Flush(done))) => {
                let mut left = intake.records.len();
                let mut result = std::mem::replace(&mut interrupted, Ok(()));
                while left > 0 {
                    let batch = at_hand(&mut intake, options.max_batch_size.min(left));
                    left = left.saturating_sub(batch.len().max(1));
                    result = result.and(export(batch, &mut intake, exporter).await);
                }
                let result = result.and(caught(|| exporter.flush()));
                if let (Err(error), false) = (&result, intake.commands.is_empty()) {
                    interrupted = Err(OTelSdkError::InternalFailure(error.to_string()));
                }
                done(result);
            }
            // All senders are gone only if the processor and `Telemetry` were dropped without a shutdown.
            closing @ (Some(Some(Command::Close(_))) | Some(None)) => {
                intake.records.close();
                let mut result = interrupted;
                let mut batch = Vec::new();
                // `recv_many` returns zero only when no sender can be in the middle of a send.
                while intake.records.recv_many(&mut batch, options.max_batch_size).await > 0 {
                    let batch = std::mem::take(&mut batch);
                    let exported = export(batch, &mut intake, exporter).await;
                    result = result.and(exported);
                }
                let shut_down = caught(|| {
                    exporter.shut_down();
                    Ok(())
                });
                if let Some(lost) = warning.last(shared.account.read().dropped) {
                    warn(signal, lost);
                }
                if let Some(Some(Command::Close(done))) = closing {
                    done(result.and(shut_down));
                }
                return;
            }
        }
        if let Some(lost) = warning.due(Instant::now(), shared.account.read().dropped) {
            warn(signal, lost);
        }
    }
}

/// Calls the exporter. A panic of it must not end the worker, which then counts no more.
fn caught(call: impl FnOnce() -> OTelSdkResult) -> OTelSdkResult {
    std::panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_panic| Err(panicked()))
}

fn panicked() -> OTelSdkError {
    OTelSdkError::InternalFailure("the exporter panicked".into())
}

/// Takes up to `most` records that are in the queue now.
fn at_hand<T>(intake: &mut Intake<T>, most: usize) -> Vec<T> {
    let mut batch = Vec::with_capacity(intake.records.len().min(most));
    while batch.len() < most {
        match intake.records.try_recv() {
            Ok(record) => batch.push(record),
            Err(_) => break,
        }
    }
    batch
}

/// Exports a batch under the timeout and counts the outcome.
async fn export<T: Send + 'static>(
    batch: Vec<T>,
    intake: &mut Intake<T>,
    exporter: &dyn Deliver<T>,
) -> OTelSdkResult {
    if batch.is_empty() {
        return Ok(());
    }
    let shared = &*intake.shared;
    let status = &*shared.status;
    let mut cancelled = shared.cancelled.subscribe();
    let records = batch.len();
    let timeout = shared.options.export_timeout;
    status.begin();
    // The call is inside of the future, because an exporter can panic before it returns its own.
    let delivery = AssertUnwindSafe(async { exporter.deliver(batch).await }).catch_unwind();
    let delivered = tokio::select! {
        biased;
        // The sender is in `shared`, so that this branch can only mean cancellation.
        _ = cancelled.wait_for(|cancelled| *cancelled) => {
            shared.account.exported(records, Export::GivenUp);
            return Err(OTelSdkError::AlreadyShutdown);
        }
        () = displaced(shared, &intake.records) => {
            shared.account.exported(records, Export::Displaced);
            return Err(OTelSdkError::InternalFailure("the queue became full before the next retry".into()));
        }
        delivered = tokio::time::timeout(timeout, delivery) => delivered,
    };
    let error = match delivered {
        Ok(Ok(Ok(()))) => {
            status.succeeded();
            shared.account.exported(records, Export::Accepted { rejected: status.take_rejected() });
            return Ok(());
        }
        Ok(Ok(Err(error))) => error,
        Ok(Err(_panic)) => panicked(),
        Err(_elapsed) => OTelSdkError::Timeout(timeout),
    };
    let failure = status.conclude(&error, matches!(error, OTelSdkError::Timeout(_)));
    let export = if failure.timed_out { Export::TimedOut } else { Export::Failed };
    shared.account.exported(records, export);
    Err(match error {
        OTelSdkError::InternalFailure(_) => OTelSdkError::InternalFailure(failure.cause),
        error => error,
    })
}

/// Resolves when the queue is full while the export waits for its next attempt: its batch is the oldest.
async fn displaced<T>(shared: &Shared, records: &mpsc::Receiver<T>) {
    loop {
        if shared.status.is_retrying() && records.len() >= shared.options.max_queue_size {
            return;
        }
        shared.status.pressure.notified().await;
    }
}

fn warn(signal: &'static str, lost: Drops) {
    tracing::warn!(
        name: "telemetry.dropped",
        signal,
        queue_full = lost.queue_full,
        failed = lost.failed,
        timed_out = lost.timed_out,
        rejected = lost.rejected,
        shut_down = lost.shut_down,
        "{} records of {signal} were dropped since the last of these warnings",
        lost.total(),
    );
}

/// Decides when to warn about lost records: at the first loss, then at most once a minute with the new losses.
#[derive(Debug, Default)]
struct Warning {
    last: Option<Instant>,
    reported: Drops,
}

impl Warning {
    fn due(&mut self, now: Instant, dropped: Drops) -> Option<Drops> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < WARN_EVERY) {
            return None;
        }
        let new = self.last(dropped)?;
        self.last = Some(now);
        Some(new)
    }

    /// Returns the losses since the last warning, whatever the time.
    fn last(&mut self, dropped: Drops) -> Option<Drops> {
        let new = Drops {
            queue_full: dropped.queue_full - self.reported.queue_full,
            shut_down: dropped.shut_down - self.reported.shut_down,
            failed: dropped.failed - self.reported.failed,
            timed_out: dropped.timed_out - self.reported.timed_out,
            rejected: dropped.rejected - self.reported.rejected,
        };
        (new.total() > 0).then(|| {
            self.reported = dropped;
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(queue_full: u64) -> Drops {
        Drops { queue_full, ..Drops::default() }
    }

    #[test]
    fn drops_are_reported_once_a_minute_and_each_time_the_new_ones() {
        let start = Instant::now();
        let mut warning = Warning::default();
        assert_eq!(warning.due(start, full(0)), None);
        assert_eq!(warning.due(start, full(3)), Some(full(3)));
        assert_eq!(warning.due(start + Duration::from_secs(59), full(10)), None);
        assert_eq!(warning.due(start + Duration::from_secs(60), full(10)), Some(full(7)));
        assert_eq!(warning.due(start + Duration::from_secs(300), full(10)), None);
        assert_eq!(warning.last(full(11)), Some(full(1)));
    }
}
