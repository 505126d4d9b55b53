//! Batch export with exact counts: every record is either accepted by the exporter or counted as dropped, by reason.
//!
//! Follows the "Batching processor" of the [Trace
//! SDK](https://opentelemetry.io/docs/specs/otel/trace/sdk/#batching-processor) and of the [Logs
//! SDK](https://opentelemetry.io/docs/specs/otel/logs/sdk/#batching-processor). The SDK's own batch processors are
//! not used, because they keep their counts private and do not apply the export timeout.

mod counts;
mod processors;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::sync::{Notify, mpsc, watch};

pub(crate) use self::counts::Account;
pub use self::counts::{Counts, Drops};
pub(crate) use self::processors::{BatchLogs, BatchSpans, OwnedLog, deliver_logs, deliver_spans};
pub(crate) use self::worker::{Deliver, DynDeliver, run};
use crate::status::ExportStatus;

/// Options of batch export for one signal. The defaults are the specification's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOptions {
    pub(crate) max_queue_size: usize,
    pub(crate) max_batch_size: usize,
    pub(crate) schedule_delay: Duration,
    pub(crate) export_timeout: Duration,
}

impl BatchOptions {
    /// Returns the specification's defaults for spans: a queue of 2048 spans, batches of 512, a delay of 5 seconds,
    /// an export timeout of 30 seconds.
    #[must_use]
    pub fn for_spans() -> Self {
        Self {
            max_queue_size: 2048,
            max_batch_size: 512,
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
        }
    }

    /// Returns the specification's defaults for logs: as for spans, but with a delay of 1 second.
    #[must_use]
    pub fn for_logs() -> Self {
        Self { schedule_delay: Duration::from_secs(1), ..Self::for_spans() }
    }

    /// Sets the capacity of the queue, without the batch that is being exported. Records that arrive while it is full
    /// are dropped and counted. While an export waits for its next attempt, its batch is dropped instead, which is the
    /// oldest one; during an attempt it is not, because the collector may accept it. Zero becomes one.
    #[must_use]
    pub fn with_max_queue_size(mut self, records: usize) -> Self {
        self.max_queue_size = records;
        self
    }

    /// Sets the maximum number of records in one export; as many waiting records start an export immediately. The
    /// value is limited to the capacity of the queue, and zero becomes one.
    #[must_use]
    pub fn with_max_batch_size(mut self, records: usize) -> Self {
        self.max_batch_size = records;
        self
    }

    /// Sets the maximum time that a record waits before an export starts.
    #[must_use]
    pub fn with_schedule_delay(mut self, delay: Duration) -> Self {
        self.schedule_delay = delay;
        self
    }

    /// Sets the timeout of one export. On timeout its records are dropped and counted. Over OTLP it limits each attempt,
    /// and [`OtlpOptions::with_retry_for`](crate::OtlpOptions::with_retry_for) the time of all attempts.
    #[must_use]
    pub fn with_export_timeout(mut self, timeout: Duration) -> Self {
        self.export_timeout = timeout;
        self
    }

    /// Clamps the values to what the queue supports: tokio's channel panics for a capacity of zero and above its
    /// limit.
    pub(crate) fn bounded(mut self) -> Self {
        self.max_queue_size = self.max_queue_size.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.max_batch_size = self.max_batch_size.clamp(1, self.max_queue_size);
        // A delay of zero would make the worker spin, and a very long one would overflow the clock.
        self.schedule_delay =
            self.schedule_delay.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }
}

/// A request to a queue's worker; its callback receives the result.
pub(crate) enum Command {
    /// Exports the records that are in the queue now.
    Flush(Done),
    /// Closes the queue, exports the rest, shuts the exporter down and ends the worker.
    Close(Done),
}

/// The callback of a command.
pub(crate) type Done = Box<dyn FnOnce(OTelSdkResult) + Send>;

/// The sending end of a queue, shared by the processor, `Telemetry` and its shutdown.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    records: mpsc::Sender<T>,
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            records: self.records.clone(),
            commands: self.commands.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The state that both ends of a queue share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) account: Account,
    pub(crate) full_batch: Notify,
    pub(crate) cancelled: watch::Sender<bool>,
    pub(crate) status: Arc<ExportStatus>,
    pub(crate) options: BatchOptions,
    refusing: AtomicBool,
}

/// The receiving end of a queue, for [`run`].
#[derive(Debug)]
pub(crate) struct Intake<T> {
    pub(crate) records: mpsc::Receiver<T>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) shared: Arc<Shared>,
}

/// Creates the two ends of a queue.
pub(crate) fn queue<T>(options: BatchOptions, status: Arc<ExportStatus>) -> (Queue<T>, Intake<T>) {
    let options = options.bounded();
    let (records, records_out) = mpsc::channel(options.max_queue_size);
    let (commands, commands_out) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        account: Account::default(),
        full_batch: Notify::new(),
        cancelled: watch::Sender::new(false),
        status,
        options,
        refusing: AtomicBool::new(false),
    });
    let intake = Intake { records: records_out, commands: commands_out, shared: Arc::clone(&shared) };
    let queue = Queue { records, commands, shared };
    (queue, intake)
}

impl<T: Send + 'static> Queue<T> {
    /// Adds a record, or drops and counts it; never blocks. Inlined, and with a permit instead of `try_send`, because a span
    /// is several hundred bytes long and each call on its way copies it.
    #[inline]
    pub(crate) fn push(&self, record: T) {
        let shared = &*self.shared;
        shared.account.ended();
        if shared.refusing.load(Ordering::Relaxed) {
            return shared.account.refused();
        }
        shared.account.enter();
        match self.records.try_reserve() {
            // The worker does not wait on the channel, because waking it for every record would cost a system call
            // each. It is woken for a full batch and by its timer.
            Ok(permit) => {
                permit.send(record);
                let waiting = self.records.max_capacity() - self.records.capacity();
                if waiting >= shared.options.max_batch_size && !shared.account.is_busy() {
                    shared.full_batch.notify_one();
                }
                if waiting == shared.options.max_queue_size {
                    shared.status.pressure.notify_one();
                }
            }
            Err(error) => {
                shared.account.leave();
                match error {
                    mpsc::error::TrySendError::Full(_) => shared.account.queue_full(),
                    mpsc::error::TrySendError::Closed(_) => shared.account.refused(),
                }
            }
        }
    }

    /// Drops and counts all further records; those in the queue remain.
    pub(crate) fn refuse(&self) {
        self.shared.refusing.store(true, Ordering::Relaxed);
    }

    /// Counts all records that are left as dropped, if the exporter has not returned after [`cancel`](Self::cancel).
    pub(crate) fn abandon(&self) {
        self.refuse();
        self.shared.account.abandon();
    }

    /// Cancels the running export and makes every later one fail immediately, so that the queue drains within
    /// milliseconds and all records are counted.
    pub(crate) fn cancel(&self) {
        self.shared.cancelled.send_replace(true);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.account.read()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Sends a command to the worker. If the worker has ended, the callback receives `AlreadyShutdown`.
    pub(crate) fn command(&self, command: Command) {
        let is_close = matches!(command, Command::Close(_));
        if let Err(mpsc::error::SendError(Command::Flush(done) | Command::Close(done))) =
            self.commands.send(command)
        {
            done(Err(OTelSdkError::AlreadyShutdown));
        }
        // After the command, which the export has to find when this makes it fail.
        if is_close {
            self.shared.status.close();
        }
    }

    /// Blocks until the worker has executed a command, for the SDK's synchronous interface.
    pub(crate) fn command_blocking(
        &self,
        command: impl FnOnce(Done) -> Command,
        timeout: Duration,
    ) -> OTelSdkResult {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.command(command(Box::new(move |result| {
            // The receiver is gone if the wait has timed out.
            let _ = sender.try_send(result);
        })));
        match receiver.recv_timeout(timeout) {
            Ok(result) => result,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Err(OTelSdkError::Timeout(timeout)),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err(OTelSdkError::AlreadyShutdown),
        }
    }

    /// Like [`command_blocking`](Self::command_blocking), for asynchronous code.
    pub(crate) async fn command_async(&self, command: impl FnOnce(Done) -> Command) -> OTelSdkResult {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.command(command(Box::new(move |result| {
            let _ = sender.send(result);
        })));
        receiver.await.unwrap_or(Err(OTelSdkError::AlreadyShutdown))
    }
}
