//! The process that is killed or paused, and the one that continues: a saga in a journal, with participants that keep
//! their state in a file.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use otel_saga::flow::{Phase, Record};
use otel_saga::journal::{
    AfterAppend, AppendError, CreateOutcome, Cursor, DefinitionKey, InstanceCount, InstanceSummary, Journal,
    JournalError, NewInstance, Query, RedbJournal, StoredInstance,
};
use otel_saga::{RetryPolicy, Runtime, Saga, StepContext, StepError};

use crate::spans;

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
            println!("stopped");
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

/// A journal with a point before and after every write for a saga.
#[derive(Debug)]
struct Stopping {
    inner: Arc<dyn Journal>,
    points: Arc<Points>,
}

#[async_trait]
impl Journal for Stopping {
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
            println!("fenced");
        }
        self.points.pass();
        cursor
    }

    async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<Cursor, AppendError> {
        self.points.pass();
        let cursor = self.inner.replace(id, at, from, records).await;
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

struct Participants {
    effects: PathBuf,
    kind: String,
    points: Arc<Points>,
}

impl Participants {
    /// Returns true if the line is in the file, also if a killed process wrote it.
    fn remembers(&self, line: &str) -> bool {
        let effects = std::fs::read_to_string(&self.effects).unwrap_or_default();
        effects.lines().any(|one| one == line)
    }

    fn take_effect(&self, verb: &str, step: &str, key: &str) {
        let line = format!("{verb} {step} {key}");
        self.points.pass();
        if !self.remembers(&line) {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.effects).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        self.points.pass();
    }
}

type Cx = StepContext<Participants>;

async fn act<A>(cx: Cx, _: u32, _: A) -> Result<String, StepError> {
    let world = cx.state();
    if world.remembers(&format!("undo {} {}", cx.step(), cx.action_key())) {
        return Err(StepError::refused("it was undone before it came"));
    }
    if world.kind == "refused" && cx.step() == "pay" {
        world.points.pass();
        return Err(StepError::refused("no money"));
    }
    if world.kind == "flaky" && cx.attempt() == 1 {
        return Err(StepError::uncertain("lost"));
    }
    if world.kind == "poison" && cx.step() == "pay" {
        std::process::abort();
    }
    assert_eq!(cx.phase(), Phase::Action);
    world.take_effect("do", cx.step(), &cx.idempotency_key());
    Ok(cx.step().to_owned())
}

async fn undo(cx: Cx, _: u32, (): (), _: Option<String>) -> Result<(), StepError> {
    // A tombstone: the action checks for its own key.
    cx.state().take_effect("undo", cx.step(), &cx.action_key());
    Ok(())
}

fn definition() -> Saga<Participants, u32> {
    let patient =
        RetryPolicy::exponential(Duration::from_millis(1), Duration::from_millis(5)).with_attempts(10);
    let limited = patient.with_interruptions(crate::INTERRUPTIONS);
    let mut saga = Saga::builder("order", 1);
    let (reserved, held) = saga.parallel(|g| {
        let reserved = g.step("reserve", (), act).retry(patient).undo(undo);
        (reserved, g.step("hold", (), act).retry(patient).undo(undo))
    });
    saga.step("pay", (reserved, held), act).retry(limited).pivot();
    saga.build().unwrap()
}

/// The configuration of a child process.
pub(crate) struct Task<'t> {
    pub(crate) directory: &'t Path,
    /// The database of the journal; `None` for a file.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "there is only the file"))]
    pub(crate) postgres: Option<&'t str>,
    pub(crate) kind: &'t str,
    pub(crate) stop_at: Option<usize>,
    pub(crate) goes_on: bool,
}

pub(crate) fn run(task: &Task<'_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(go_on(task));
}

async fn open(task: &Task<'_>) -> Arc<dyn Journal> {
    #[cfg(feature = "postgres")]
    if let Some(url) = task.postgres {
        let options = otel_saga::journal::PostgresOptions::new(url).unwrap();
        return Arc::new(options.connect().await.unwrap());
    }
    Arc::new(RedbJournal::open(task.directory.join("sagas.redb")).unwrap())
}

async fn go_on(task: &Task<'_>) {
    let Task { directory, kind, stop_at, goes_on, .. } = *task;
    let points = Arc::new(Points { stop_at, goes_on, passed: AtomicUsize::new(0) });
    let inner = open(task).await;
    let journal = Arc::new(Stopping { inner, points: Arc::clone(&points) });
    let provider = spans::provider(directory);
    let participants = Participants { effects: directory.join("effects"), kind: kind.to_owned(), points };
    let saga = definition();
    // In Postgres the lease outlives the process, and has to expire before another process can continue.
    let runtime = Runtime::builder(journal, participants).with_saga(&saga).with_lease(LEASE);
    let runtime =
        runtime.with_poll_interval(Duration::from_millis(5)).with_tracer_provider(&provider).start();
    let key = directory.file_name().and_then(|name| name.to_str()).unwrap();
    // The caller repeats the start, because it cannot know if the first one was accepted.
    let id = runtime.start(&saga, key, 7).await.unwrap();
    // Long enough for a busy machine; a stuck saga fails the check instead of blocking it.
    let status = tokio::time::timeout(Duration::from_secs(120), runtime.wait(&id)).await.unwrap().unwrap();
    let instance = runtime.status(&id).await.unwrap();
    let trace = instance.state.started.trace.as_ref().unwrap();
    println!("trace {trace}");
    for record in &instance.records {
        if let Record::Intent { span, .. } = record {
            println!("intent {}", span.as_ref().unwrap());
        }
    }
    println!("end {}", status.as_str());
    // The journal shows the end before the append that wrote it has returned, and that is a point as well. A process that
    // was paused still runs its saga, which must have no effect.
    runtime.shutdown(Duration::from_secs(60)).await;
}
