//! The process that is killed, and the one that goes on: a transfer between the two databases, with a journal in a file.

#![expect(clippy::print_stdout, reason = "the two processes talk through it")]

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use otel_saga::BoxError;
use otel_saga::journal::{
    AppendError, Count, Created, Cursor, Header, Journal, JournalError, Loaded, NewInstance, Query,
    RedbJournal, Then,
};
use otel_saga::two_phase::{Answer, Branch, Participant, Vote};

use super::support::{Banks, LONG};

/// Counts the points at which a process can be killed, and stops at one.
#[derive(Debug)]
struct Points {
    stop_at: Option<usize>,
    passed: AtomicUsize,
}

impl Points {
    fn pass(&self) {
        let number = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if Some(number) == self.stop_at {
            println!("\nhere");
            std::io::stdout().flush().unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

/// The journal, with a point before and after everything that it writes for a transaction.
#[derive(Debug)]
struct StoppingJournal {
    inner: RedbJournal,
    points: Arc<Points>,
}

#[async_trait]
impl Journal for StoppingJournal {
    async fn create(&self, instance: NewInstance) -> Result<Created, JournalError> {
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
        then: Then,
    ) -> Result<Cursor, AppendError> {
        self.points.pass();
        let cursor = self.inner.append(id, at, records, then).await;
        self.points.pass();
        cursor
    }

    async fn load(&self, id: &str) -> Result<Option<Loaded>, JournalError> {
        self.inner.load(id).await
    }

    async fn claim(&self, worker: &str, limit: usize) -> Result<Vec<Header>, JournalError> {
        self.inner.claim(worker, limit).await
    }

    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        self.inner.renew(worker, lease).await
    }

    async fn list(&self, query: &Query) -> Result<Vec<Header>, JournalError> {
        self.inner.list(query).await
    }

    async fn counts(&self) -> Result<Vec<Count>, JournalError> {
        self.inner.counts().await
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        self.inner.prune(ended_before, limit).await
    }
}

/// A participant, with a point before and after everything that it is asked.
#[derive(Debug)]
struct Stopping<P> {
    inner: P,
    points: Arc<Points>,
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

    async fn commit(&self, branch: &Branch) -> Result<Answer, BoxError> {
        self.points.pass();
        let answer = self.inner.commit(branch).await;
        self.points.pass();
        answer
    }

    async fn rollback(&self, branch: &Branch) -> Result<Answer, BoxError> {
        self.points.pass();
        let answer = self.inner.rollback(branch).await;
        self.points.pass();
        answer
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

/// Transfers, or goes on with the transfer that was begun: the caller asks again as well, for it cannot know.
pub(crate) async fn run(directory: &Path, banks: &Banks, kind: &str, stop_at: Option<usize>) {
    let points = Arc::new(Points { stop_at, passed: AtomicUsize::new(0) });
    let inner = RedbJournal::open(directory.join("transfers.redb")).unwrap();
    let journal: Arc<dyn Journal> = Arc::new(StoppingJournal { inner, points: Arc::clone(&points) });
    let mut builder = banks.builder(&journal);
    for participant in banks.participants.clone() {
        builder = builder.with_participant(Stopping { inner: participant, points: Arc::clone(&points) });
    }
    let coordinator = builder.start().await.unwrap();
    let mut transfer = coordinator.begin("transfer", "1").unwrap();
    let amounts: &[i64] = if kind == "alone" { &[-300] } else { &[-300, 300] };
    for (bank, cents) in amounts.iter().enumerate() {
        // What a killed process has left prepared holds its locks until it is resolved.
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
        transfer = transfer.with(Stopping { inner, points: Arc::clone(&points) });
    }
    let committing = tokio::time::timeout(LONG, transfer.commit());
    committing.await.unwrap().unwrap();
    let ended = tokio::time::timeout(LONG, coordinator.wait("transfer/1")).await.unwrap().unwrap();
    assert!(ended.is_consistent(), "{ended:?}");
    println!("\nend {}", ended.decision.as_str());
}
