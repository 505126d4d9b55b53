//! The thread that owns the file: it takes all queued jobs, carries them out in one transaction, and replies when
//! that is on the disk.
//!
//! Follows `docs/sagas.md`, "Damage and outages": after an error the file is closed and opened again for the next
//! jobs, because redb's handle stays unusable after a full disk. Committed data is not affected.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::Database;
use tokio::sync::oneshot;

use super::OpenError;
use super::backend::{Backend, Disk};
use super::tables::{Fault, Tables};
use crate::error::with_causes;
use crate::journal::JournalError;

/// Maximum number of jobs in one transaction.
const BATCH: usize = 1024;
/// Maximum wait for further jobs before a transaction.
const PATIENCE: Duration = Duration::from_millis(1);
/// Size of redb's cache in bytes. Most instances are read while they are still in it; redb's default of 1 GiB would keep
/// the records of all large instances in memory.
const CACHE: usize = 64 << 20;

/// The expiry of each worker's lease. Kept in memory, because a process that opens the file is alone.
#[derive(Debug, Default)]
pub(super) struct Leases(HashMap<String, u64>);

impl Leases {
    pub(super) fn lives(&self, worker: &str, now: u64) -> bool {
        self.0.get(worker).is_some_and(|until| *until > now)
    }

    /// Returns true if the worker is the first by name of those with a valid lease.
    pub(super) fn is_first(&self, worker: &str, now: u64) -> bool {
        let first = self.0.iter().filter(|(_, until)| **until > now).map(|(name, _)| name).min();
        first.is_some_and(|first| first == worker)
    }

    pub(super) fn set(&mut self, worker: String, until: u64) {
        self.0.insert(worker, until);
    }
}

/// Sends the result to the caller, once the outcome of the transaction is known.
type Reply = Box<dyn FnOnce(Result<(), JournalError>)>;

type Open<'j, 't> = Result<(&'j mut Tables<'t>, &'j mut Leases), String>;

/// Carries out a job. Returns its answer, and whether the transaction may continue.
type Work = Box<dyn for<'j, 't> FnOnce(Open<'j, 't>) -> (Reply, bool) + Send>;

struct Job {
    writes: bool,
    work: Work,
}

pub(super) struct Thread {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    disk: Arc<Disk>,
}

impl Thread {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_on(Arc::default(), path)
    }

    pub(super) fn open_on(disk: Arc<Disk>, path: &Path) -> Result<Self, OpenError> {
        let database = open(path, true, &disk)?;
        let (jobs, waiting) = channel();
        let path = path.to_path_buf();
        let failed = |path: &Path, error: std::io::Error| OpenError::Failed {
            path: path.to_path_buf(),
            source: error.into(),
        };
        let file = File {
            path: path.clone(),
            database: Some(database),
            leases: Leases::default(),
            disk: Arc::clone(&disk),
        };
        let thread = std::thread::Builder::new().name("otel-saga-redb".to_owned());
        let thread = thread.spawn(move || file.serve(&waiting)).map_err(|error| failed(&path, error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), disk })
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        writes: bool,
        job: impl FnOnce(&mut Tables<'_>, &mut Leases) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answered) = oneshot::channel();
        let work: Work = Box::new(move |open| {
            let done = match open {
                Ok((tables, leases)) => job(tables, leases),
                Err(error) => Err(Fault::Storage(error.into())),
            };
            let goes_on = !matches!(done, Err(Fault::Storage(_)));
            let deliver: Reply = Box::new(move |committed| {
                let result = match (done, committed) {
                    (Err(fault), _) => Err(fault.into()),
                    (Ok(_), Err(error)) => Err(error),
                    (Ok(done), Ok(())) => Ok(done),
                };
                // The caller may have dropped its future.
                let _ = reply.send(result);
            });
            (deliver, goes_on)
        });
        if let Some(jobs) = &self.jobs {
            // If the thread has ended, the job is dropped, and with it the sender of the answer.
            let _ = jobs.send(Job { writes, work });
        }
        answered
            .await
            .unwrap_or_else(|_| Err(JournalError::Unknown("the journal's thread gave no answer".into())))
    }
}

impl Drop for Thread {
    /// Waits until the file is closed, so that it can be opened again.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct File {
    path: PathBuf,
    database: Option<Database>,
    leases: Leases,
    disk: Arc<Disk>,
}

impl File {
    fn serve(mut self, waiting: &Receiver<Job>) {
        let (mut answered, mut patience) = (0, Duration::ZERO);
        let mut jobs = Vec::new();
        loop {
            // A caller that was just answered often sends its next job soon, and a job that misses a transaction
            // waits for a complete one. The thread therefore waits briefly for as many jobs as the last transaction
            // had. It does not wait for a single caller.
            take(waiting, &mut jobs);
            let expected = (answered + jobs.len()).min(BATCH);
            if jobs.is_empty() {
                let Ok(first) = waiting.recv() else { return };
                jobs.push(first);
                take(waiting, &mut jobs);
            }
            let until = Instant::now() + patience;
            while jobs.len() < expected
                && let Some(left) = until.checked_duration_since(Instant::now())
                && let Ok(job) = waiting.recv_timeout(left)
            {
                jobs.push(job);
                take(waiting, &mut jobs);
            }
            let began = Instant::now();
            answered = jobs.len();
            // redb can panic on a damaged file. The answers are then dropped, and the callers receive an unknown
            // outcome.
            let jobs = std::mem::take(&mut jobs);
            let whole = catch_unwind(AssertUnwindSafe(|| self.transact(jobs))).unwrap_or(false);
            patience = (began.elapsed() / 4).min(PATIENCE);
            if !whole {
                let database = self.database.take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
            }
        }
    }

    /// Carries out the jobs in one transaction. Returns false if the file has to be opened again.
    fn transact(&mut self, jobs: Vec<Job>) -> bool {
        if self.database.is_none() {
            match catch_unwind(AssertUnwindSafe(|| open(&self.path, false, &self.disk))) {
                Ok(Ok(database)) => self.database = Some(database),
                Ok(Err(error)) => return refuse(jobs, &with_causes(&error)),
                Err(_) => return refuse(jobs, "the file is damaged"),
            }
        }
        let Some(database) = &self.database else { return false };
        let mut transaction = match database.begin_write() {
            Ok(transaction) => transaction,
            Err(error) => return refuse(jobs, &with_causes(&error)),
        };
        transaction.set_quick_repair(true);
        let writes = jobs.iter().any(|job| job.writes);
        let mut replies = Vec::with_capacity(jobs.len());
        let mut whole = true;
        {
            let mut tables = match Tables::open(&transaction) {
                Ok(tables) => tables,
                Err(error) => return refuse(jobs, &with_causes(&error)),
            };
            for job in jobs {
                let open = if whole {
                    Ok((&mut tables, &mut self.leases))
                } else {
                    Err("another append of the same transaction failed".to_owned())
                };
                let (reply, goes_on) = (job.work)(open);
                whole &= goes_on;
                replies.push(reply);
            }
        }
        let committed = if !whole {
            // The transaction is dropped without a commit, so that nothing of it is on the disk.
            Err("another append of the same transaction failed".to_owned())
        } else if writes {
            transaction.commit().map_err(|error| with_causes(&error))
        } else {
            Ok(())
        };
        for reply in replies {
            reply(match &committed {
                Ok(()) => Ok(()),
                Err(error) if whole => Err(JournalError::Unknown(error.clone().into())),
                Err(error) => Err(JournalError::Failed(error.clone().into())),
            });
        }
        committed.is_ok()
    }
}

/// Takes queued jobs without waiting.
fn take(waiting: &Receiver<Job>, jobs: &mut Vec<Job>) {
    while jobs.len() < BATCH
        && let Ok(job) = waiting.try_recv()
    {
        jobs.push(job);
    }
}

/// Fails all jobs with this error. Returns false, the result of `transact`.
fn refuse(jobs: Vec<Job>, why: &str) -> bool {
    for job in jobs {
        let (reply, _) = (job.work)(Err(why.to_owned()));
        reply(Ok(()));
    }
    false
}

fn open(path: &Path, create: bool, disk: &Arc<Disk>) -> Result<Database, OpenError> {
    let failed = |source| OpenError::Failed { path: path.to_path_buf(), source };
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let backend = Backend::open(path, create, disk)?;
        let database = Database::builder().set_cache_size(CACHE).create_with_backend(backend)?;
        // Creates the tables. A file with other tables fails here.
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        drop(Tables::open(&transaction)?);
        transaction.commit()?;
        Ok::<_, redb::Error>(database)
    }));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => Err(OpenError::InUse { path: path.to_path_buf() }),
        Ok(Err(error)) => Err(failed(error.into())),
        Err(_) => Err(failed("the file is damaged".into())),
    }
}

#[cfg(test)]
mod tests;
