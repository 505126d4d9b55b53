//! The process that is killed or paused, and the one that continues: a transfer between the two databases, with a
//! journal in a file, or in a schema of the first database.

#![expect(clippy::print_stdout, reason = "the two processes talk through it")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use otel_saga::BoxError;
use otel_saga::journal::{
    AfterAppend, AppendError, CreateOutcome, Cursor, DefinitionKey, InstanceCount, InstanceSummary, Journal,
    JournalError, NewInstance, Query, RedbJournal, StoredInstance,
};
use otel_saga::two_phase::flow::Record;
use otel_saga::two_phase::{Acknowledgement, Branch, Participant, Vote};

use super::journal::options;
use super::spans;
use super::support::{Banks, LONG};

/// In Postgres the lease outlives the process, and has to expire before another process can continue.
const LEASE: Duration = Duration::from_millis(1500);

/// Counts the points at which the process can be killed, and stops at one.
#[derive(Debug)]
struct Points {
    stop_at: Option<usize>,
    /// If true, the process continues at the end of its input; otherwise it stops for good.
    goes_on: bool,
    passed: AtomicUsize,
}

impl Points {
    fn pass(&self) {
        let number = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if Some(number) == self.stop_at {
            println!("\nstopped");
            std::io::stdout().flush().unwrap();
            // The runtime has a single thread, so that the complete process stops.
            if self.goes_on {
                std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
                return;
            }
            loop {
                std::thread::park();
            }
        }
    }
}

/// A journal with a point before and after every write for a transaction.
#[derive(Debug)]
struct StoppingJournal {
    inner: Arc<dyn Journal>,
    points: Arc<Points>,
}

#[async_trait]
impl Journal for StoppingJournal {
    async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError> {
        self.points.pass();
        let created = self.inner.create(instance).await;
        self.points.pass();
        created
    }

    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
    ) -> Result<Cursor, AppendError> {
        self.points.pass();
        let cursor = self.inner.append(id, at, records, after_append).await;
        if let Err(AppendError::Fenced) = cursor {
            println!("\nfenced");
        }
        self.points.pass();
        cursor
    }

    async fn load(&self, id: &str) -> Result<Option<StoredInstance>, JournalError> {
        self.inner.load(id).await
    }

    async fn summary(&self, id: &str) -> Result<Option<InstanceSummary>, JournalError> {
        self.inner.summary(id).await
    }

    async fn claim(
        &self,
        worker: &str,
        definitions: Option<&[DefinitionKey]>,
        limit: usize,
    ) -> Result<Vec<InstanceSummary>, JournalError> {
        self.inner.claim(worker, definitions, limit).await
    }

    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<InstanceSummary>, JournalError> {
        self.inner.unclaimed(since, limit).await
    }

    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        self.inner.renew(worker, lease).await
    }

    async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, JournalError> {
        self.inner.list(query).await
    }

    async fn counts(&self) -> Result<Vec<InstanceCount>, JournalError> {
        self.inner.counts().await
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        self.inner.prune(ended_before, limit).await
    }
}

/// A participant with a point before and after every call.
#[derive(Debug)]
struct Stopping<P> {
    inner: P,
    points: Arc<Points>,
    /// The number of commits that are lost.
    loses: AtomicUsize,
}

impl<P> Stopping<P> {
    fn new(inner: P, points: &Arc<Points>) -> Self {
        Self { inner, points: Arc::clone(points), loses: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl<P: Participant> Participant for Stopping<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        self.points.pass();
        let vote = self.inner.prepare(branch).await;
        self.points.pass();
        vote
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.points.pass();
        let less = |left: usize| left.checked_sub(1);
        if self.loses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err("lost".into());
        }
        let acknowledgement = self.inner.commit(branch).await;
        self.points.pass();
        acknowledgement
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.points.pass();
        let acknowledgement = self.inner.rollback(branch).await;
        self.points.pass();
        acknowledgement
    }

    async fn commit_in_one_phase(&self, branch: &Branch) -> Result<Vote, BoxError> {
        self.points.pass();
        let vote = self.inner.commit_in_one_phase(branch).await;
        self.points.pass();
        vote
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        self.inner.in_doubt(prefix).await
    }
}

/// The configuration of a child process.
pub(crate) struct Task<'t> {
    pub(crate) directory: &'t Path,
    /// True for a journal in the first database, false for one in a file.
    pub(crate) in_postgres: bool,
    pub(crate) kind: &'t str,
    pub(crate) stop_at: Option<usize>,
    pub(crate) goes_on: bool,
}

/// Transfers, or continues the transfer: the caller repeats the commit, because it does not know the outcome.
pub(crate) async fn run(task: &Task<'_>, banks: &Banks) {
    let Task { directory, kind, stop_at, goes_on, .. } = *task;
    let points = Arc::new(Points { stop_at, goes_on, passed: AtomicUsize::new(0) });
    let inner: Arc<dyn Journal> = if task.in_postgres {
        Arc::new(options(banks).connect().await.unwrap())
    } else {
        Arc::new(RedbJournal::open(directory.join("transfers.redb")).unwrap())
    };
    let journal: Arc<dyn Journal> = Arc::new(StoppingJournal { inner, points: Arc::clone(&points) });
    let provider = spans::provider(directory);
    let mut builder = banks.builder(&journal).with_tracer_provider(&provider);
    if task.in_postgres {
        builder = builder.with_lease(LEASE);
    }
    for participant in banks.participants.clone() {
        let participant = Stopping::new(participant, &points);
        let loses = kind == "late" && stop_at.is_some() && participant.name() == "b";
        participant.loses.store(usize::from(loses), Ordering::SeqCst);
        builder = builder.with_participant(participant);
    }
    let coordinator = builder.start().await.unwrap();
    let mut transfer = coordinator.begin("transfer", "1").unwrap();
    let amounts: &[i64] = if kind == "alone" { &[-300] } else { &[-300, 300] };
    for (bank, cents) in amounts.iter().enumerate() {
        // Branches that a killed process left prepared hold their locks until they are resolved.
        let branch = if stop_at.is_none() {
            banks.participants[bank].begin(&transfer).await.unwrap()
        } else {
            banks.branch(bank, &transfer, *cents).await
        };
        let mut inner = branch;
        if kind == "refused" && bank == 1 {
            let overdraw = sqlx::query("UPDATE account SET cents = cents - 10000");
            overdraw.execute(inner.connection()).await.unwrap_err();
        }
        transfer = transfer.with(Stopping::new(inner, &points));
    }
    let committing = tokio::time::timeout(LONG, transfer.commit());
    committing.await.unwrap().unwrap();
    let ended = tokio::time::timeout(LONG, coordinator.wait("transfer/1")).await.unwrap().unwrap();
    assert!(ended.is_consistent(), "{ended:?}");
    let loaded = journal.load("transfer/1").await.unwrap().unwrap();
    let Ok(Record::Started(started)) = Record::decode(&loaded.records[0]) else { panic!("{loaded:?}") };
    println!("\ntrace {}", started.trace.unwrap());
    println!("end {}", ended.decision.as_str());
    if goes_on {
        // The paused process still runs its transaction, which must have no effect.
        coordinator.shutdown(LONG).await;
    }
}
