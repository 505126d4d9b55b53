//! The lease of a worker or a coordinator, renewed every third of its length.
//!
//! Follows `docs/sagas.md`, "Leases and recovery": where the journal offers it, a thread with a connection of its own
//! renews the lease, so that neither a step that blocks its threads nor many requests to the journal let it expire.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Text;
use crate::journal::{Journal, JournalError, LeaseRenewal};

/// Raises an alert about an instance, a step or participant, an event and its cause.
type Alert = fn(&str, &str, &str, &dyn Error);

pub(crate) struct Lease {
    journal: Arc<dyn Journal>,
    worker: String,
    length: Duration,
    /// The time of the last renewal.
    renewed: Arc<Mutex<Option<Instant>>>,
    /// The thread that renews the lease; `None` if the runtime's tasks do.
    thread: Option<Thread>,
    alert: Alert,
}

/// The requests to the thread; `None` once it is stopped.
type Thread = Mutex<Option<mpsc::UnboundedSender<Request>>>;

/// A renewal to this length.
struct Request {
    length: Duration,
    reply: oneshot::Sender<Result<(), JournalError>>,
}

impl Lease {
    pub(crate) fn new(journal: &Arc<dyn Journal>, worker: &str, length: Duration, alert: Alert) -> Self {
        let renewed = Arc::default();
        let mut lease = Self {
            journal: Arc::clone(journal),
            worker: worker.to_owned(),
            length,
            renewed,
            thread: None,
            alert,
        };
        if let Some(renewal) = journal.lease_renewal() {
            match lease.spawn(renewal) {
                Ok(requests) => lease.thread = Some(Mutex::new(Some(requests))),
                Err(error) => {
                    alert("", "", "the lease has no thread: blocking steps can let it expire", &error)
                }
            }
        }
        lease
    }

    fn spawn(&self, renewal: Box<dyn LeaseRenewal>) -> std::io::Result<mpsc::UnboundedSender<Request>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (requests, waiting) = mpsc::unbounded_channel();
        let keeper = Keeper {
            renewal,
            worker: self.worker.clone(),
            length: self.length,
            renewed: Arc::clone(&self.renewed),
            alert: self.alert,
        };
        let thread = std::thread::Builder::new().name("otel-saga-lease".to_owned());
        thread.spawn(move || runtime.block_on(keeper.serve(waiting)))?;
        Ok(requests)
    }

    /// Renews the lease until the future is dropped; returns at once if a thread does that.
    pub(crate) async fn keep(&self) {
        while self.thread.is_none() {
            if let Err(error) = self.renew().await {
                (self.alert)("", "", "the lease was not renewed", &error);
            }
            sleep(self.length / 3).await;
        }
    }

    /// Renews the lease now.
    pub(crate) async fn renew(&self) -> Result<(), JournalError> {
        let began = Instant::now();
        self.request(self.length).await?;
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        Ok(())
    }

    /// Returns true if the lease is valid, renewing it if necessary. Without a valid lease other workers would
    /// immediately claim the instances that this one claims or creates; after a pause, this worker would claim its own
    /// running instances.
    pub(crate) async fn is_valid(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.is_some_and(|at| at.elapsed() < self.length / 2) {
            return true;
        }
        let renewed = self.renew().await;
        if let Err(error) = &renewed {
            (self.alert)("", "", "the lease was not renewed", error);
        }
        renewed.is_ok()
    }

    /// Ends the lease, so that other workers can claim the remaining instances at once.
    pub(crate) async fn release(&self) {
        let released = self.request(Duration::ZERO).await;
        self.stop();
        if let Err(error) = released {
            (self.alert)("", "", "the lease was not released", &error);
        }
    }

    /// Stops the thread, without a release.
    pub(crate) fn stop(&self) {
        if let Some(thread) = &self.thread {
            thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    async fn request(&self, length: Duration) -> Result<(), JournalError> {
        let Some(thread) = &self.thread else { return self.journal.renew(&self.worker, length).await };
        let stopped = || JournalError::Failed(Box::new(Text("the lease's thread has stopped")));
        let requests = thread.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(stopped)?;
        let (reply, replied) = oneshot::channel();
        requests.send(Request { length, reply }).map_err(|_| stopped())?;
        replied.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// The state of the thread.
struct Keeper {
    renewal: Box<dyn LeaseRenewal>,
    worker: String,
    length: Duration,
    renewed: Arc<Mutex<Option<Instant>>>,
    alert: Alert,
}

impl Keeper {
    /// Renews the lease until all senders are gone, or until it was released.
    async fn serve(self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut due = Instant::now();
        loop {
            tokio::select! {
                biased;
                request = requests.recv() => {
                    let Some(Request { length, reply }) = request else { return };
                    // The caller may have dropped its future.
                    let _ = reply.send(self.renewal.renew(&self.worker, length).await);
                    if length.is_zero() {
                        return;
                    }
                }
                () = sleep_until(due) => {
                    let began = Instant::now();
                    match self.renewal.renew(&self.worker, self.length).await {
                        Ok(()) => *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(began),
                        Err(error) => (self.alert)("", "", "the lease was not renewed", &error),
                    }
                }
            }
            due = Instant::now() + self.length / 3;
        }
    }
}
