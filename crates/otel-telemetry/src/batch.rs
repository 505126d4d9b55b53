//! Batch export with exact accounts: what went in is either accepted by the exporter or counted as dropped, by reason.
//!
//! Follows the "Batching processor" of the
//! [Trace SDK](https://opentelemetry.io/docs/specs/otel/trace/sdk/#batching-processor) and of the
//! [Logs SDK](https://opentelemetry.io/docs/specs/otel/logs/sdk/#batching-processor). The SDK's own batch processors
//! keep their counts private and do not apply the export timeout, which is why these exist.

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

/// How records are gathered and exported. One value serves a signal's queue; the defaults are the specification's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOptions {
    pub(crate) max_queue_size: usize,
    pub(crate) max_batch_size: usize,
    pub(crate) schedule_delay: Duration,
    pub(crate) export_timeout: Duration,
}

impl BatchOptions {
    /// The specification's values for spans: a queue of 2048, batches of 512, every 5 seconds, 30 seconds for an export.
    #[must_use]
    pub fn for_spans() -> Self {
        Self {
            max_queue_size: 2048,
            max_batch_size: 512,
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
        }
    }

    /// The specification's values for logs: as for spans, but every second.
    #[must_use]
    pub fn for_logs() -> Self {
        Self { schedule_delay: Duration::from_secs(1), ..Self::for_spans() }
    }

    /// How many records may wait. Those that come while the queue is full are dropped and counted. Zero becomes one.
    #[must_use]
    pub fn with_max_queue_size(mut self, records: usize) -> Self {
        self.max_queue_size = records;
        self
    }

    /// How many records one export carries at most; so many waiting start an export at once. It is taken no larger than
    /// the queue, and zero becomes one.
    #[must_use]
    pub fn with_max_batch_size(mut self, records: usize) -> Self {
        self.max_batch_size = records;
        self
    }

    /// How long a record waits at most before an export is started.
    #[must_use]
    pub fn with_schedule_delay(mut self, delay: Duration) -> Self {
        self.schedule_delay = delay;
        self
    }

    /// How long one export may take, retries included. What it carried is then dropped and counted.
    #[must_use]
    pub fn with_export_timeout(mut self, timeout: Duration) -> Self {
        self.export_timeout = timeout;
        self
    }

    /// The values as the queue can use them: tokio's channel refuses a capacity of zero and one above its own limit.
    pub(crate) fn bounded(mut self) -> Self {
        self.max_queue_size = self.max_queue_size.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.max_batch_size = self.max_batch_size.clamp(1, self.max_queue_size);
        // A delay of zero would have the worker spin, and one without end would overflow the clock.
        self.schedule_delay =
            self.schedule_delay.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }
}

/// What a queue's worker is asked to do; the callback gets the result once it is done.
pub(crate) enum Command {
    /// Export what is in the queue now.
    Flush(Done),
    /// Take nothing more, export the rest, shut the exporter down, end.
    Close(Done),
}

/// Told when a command is done.
pub(crate) type Done = Box<dyn FnOnce(OTelSdkResult) + Send>;

/// The sending end of a queue, shared by the processor, the guard and the metrics.
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

/// What both ends of a queue see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) account: Account,
    pub(crate) full_batch: Notify,
    pub(crate) cancelled: watch::Sender<bool>,
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

/// Makes the two ends of a queue.
pub(crate) fn queue<T>(options: BatchOptions) -> (Queue<T>, Intake<T>) {
    let options = options.bounded();
    let (records, records_out) = mpsc::channel(options.max_queue_size);
    let (commands, commands_out) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        account: Account::default(),
        full_batch: Notify::new(),
        cancelled: watch::Sender::new(false),
        options,
        refusing: AtomicBool::new(false),
    });
    let intake = Intake { records: records_out, commands: commands_out, shared: Arc::clone(&shared) };
    let queue = Queue { records, commands, shared };
    (queue, intake)
}

impl<T: Send + 'static> Queue<T> {
    /// Takes a record, or drops and counts it; never waits.
    pub(crate) fn push(&self, record: T) {
        let shared = &*self.shared;
        shared.account.ended();
        if shared.refusing.load(Ordering::Relaxed) {
            return shared.account.refused();
        }
        shared.account.enter();
        match self.records.try_send(record) {
            // The worker does not wait on the channel itself: being woken for every record would cost a system call
            // for each. It is woken for a full batch and by its timer.
            Ok(()) => {
                let waiting = self.records.max_capacity() - self.records.capacity();
                if waiting >= shared.options.max_batch_size && !shared.account.is_busy() {
                    shared.full_batch.notify_one();
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

    /// From now on records are dropped and counted; those in the queue stay.
    pub(crate) fn refuse(&self) {
        self.shared.refusing.store(true, Ordering::Relaxed);
    }

    /// Gives the running export up and makes every later one fail at once, so that the queue drains within
    /// milliseconds and all is counted.
    pub(crate) fn cancel(&self) {
        self.shared.cancelled.send_replace(true);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.account.read()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands a command to the worker. If it has ended, there is nothing left to do, and the callback is told so.
    pub(crate) fn command(&self, command: Command) {
        if let Err(mpsc::error::SendError(Command::Flush(done) | Command::Close(done))) =
            self.commands.send(command)
        {
            done(Err(OTelSdkError::AlreadyShutdown));
        }
    }

    /// Waits on the calling thread until the worker has done a command; for the SDK's synchronous interface.
    pub(crate) fn command_blocking(
        &self,
        command: impl FnOnce(Done) -> Command,
        timeout: Duration,
    ) -> OTelSdkResult {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.command(command(Box::new(move |result| {
            // Nobody listens any more once the wait has timed out.
            let _ = sender.try_send(result);
        })));
        match receiver.recv_timeout(timeout) {
            Ok(result) => result,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Err(OTelSdkError::Timeout(timeout)),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err(OTelSdkError::AlreadyShutdown),
        }
    }

    /// As [`command_blocking`](Self::command_blocking), for asynchronous code.
    pub(crate) async fn command_async(&self, command: impl FnOnce(Done) -> Command) -> OTelSdkResult {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.command(command(Box::new(move |result| {
            let _ = sender.send(result);
        })));
        receiver.await.unwrap_or(Err(OTelSdkError::AlreadyShutdown))
    }
}
