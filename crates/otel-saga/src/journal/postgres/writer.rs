//! The writing tasks: each takes all queued jobs, carries them out in one statement, and replies after the commit.
//!
//! Follows `docs/sagas.md`, "Group commit": one commit, and so one wait for the disk, for the complete batch. Replies
//! are matched by the job's number in the batch, because a worker that has lost an instance may share the batch with
//! the one that owns it.

use std::collections::HashSet;
use std::sync::Arc;

use otel_sqlx::PgConnection;
use sqlx::Row as _;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::connections::{Connections, Fault, Statement};
use super::{signed, status_code};
use crate::flow::SagaOutcome;
use crate::journal::{AfterAppend, CreateOutcome, Cursor, JournalError, NewInstance, Status};

/// Maximum number of jobs in one statement.
const BATCH: usize = 1024;
/// Maximum size of the records in one statement; a single job may exceed it.
const BATCH_BYTES: usize = 4 << 20;
/// While one task waits for its commit, the other one sends the next batch.
const WRITERS: usize = 2;
/// Maximum number of retries of a batch that failed by a deadlock or a serialization failure.
const DEADLOCKS: usize = 5;

pub(super) enum Work {
    Create(NewInstance),
    Append {
        id: String,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
        /// Delay until the instance is due, in milliseconds.
        delay: Option<i64>,
    },
}

impl Work {
    fn id(&self) -> &str {
        match self {
            Self::Create(instance) => &instance.id,
            Self::Append { id, .. } => id,
        }
    }

    fn bytes(&self) -> usize {
        let (Self::Create(NewInstance { records, .. }) | Self::Append { records, .. }) = self;
        records.iter().map(Vec::len).sum()
    }
}

/// True if the job was carried out; false if the id exists already or the cursor has moved.
type Done = Result<bool, JournalError>;

struct Job {
    work: Work,
    reply: oneshot::Sender<Done>,
}

/// The queue of the writing tasks. The tasks end when it is dropped.
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    pub(super) fn spawn(connections: &Arc<Connections>) -> Self {
        let (jobs, waiting) = mpsc::channel(2 * BATCH);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..WRITERS {
            let task = Task {
                connections: Arc::clone(connections),
                connection: None,
                waiting: Arc::clone(&waiting),
            };
            tokio::spawn(task.serve());
        }
        Self(jobs)
    }

    pub(super) async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError> {
        let cursor = Cursor::new(instance.records.len() as u64, 1);
        let done = self.call(Work::Create(instance)).await?;
        Ok(if done { CreateOutcome::New(cursor) } else { CreateOutcome::Exists })
    }

    /// Queues a job, and returns its result after the commit.
    pub(super) async fn call(&self, work: Work) -> Done {
        let (reply, answered) = oneshot::channel();
        if self.0.send(Job { work, reply }).await.is_err() {
            return Err(JournalError::Failed("the journal's tasks have ended with their runtime".into()));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(JournalError::Unknown("the journal's task gave no answer".into())))
    }
}

struct Task {
    connections: Arc<Connections>,
    connection: Option<PgConnection>,
    waiting: Arc<Mutex<mpsc::Receiver<Job>>>,
}

impl Task {
    async fn serve(mut self) {
        loop {
            let mut jobs = Vec::new();
            {
                let mut waiting = self.waiting.lock().await;
                let Some(first) = waiting.recv().await else { return };
                let mut bytes = first.work.bytes();
                jobs.push(first);
                while jobs.len() < BATCH
                    && bytes < BATCH_BYTES
                    && let Ok(job) = waiting.try_recv()
                {
                    bytes += job.work.bytes();
                    jobs.push(job);
                }
            }
            self.write(jobs).await;
        }
    }

    async fn write(&mut self, mut jobs: Vec<Job>) {
        // Batches lock rows in the same order in all processes, so that they rarely deadlock.
        jobs.sort_by(|a, b| a.work.id().cmp(b.work.id()));
        match self.attempt(&jobs).await {
            Ok(done) => reply(jobs, &done),
            Err(fault) if jobs.len() > 1 && is_of_one(&fault) => {
                // A job whose values Postgres rejects must not fail the others.
                for job in jobs {
                    let done = self.attempt(std::slice::from_ref(&job)).await;
                    match done {
                        Ok(done) => reply(vec![job], &done),
                        Err(fault) => refuse(vec![job], fault),
                    }
                }
            }
            Err(fault) => refuse(jobs, fault),
        }
    }

    /// Runs a batch, and returns the numbers of the jobs that were carried out.
    async fn attempt(&mut self, jobs: &[Job]) -> Result<HashSet<i32>, Fault> {
        let mut tries = 0;
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connections.connect().await?,
            };
            match self.connections.run(&mut connection, statement(jobs)).await {
                Ok(rows) => {
                    self.connection = Some(connection);
                    let numbers = rows.iter().map(|row| row.try_get(0).map_err(Fault::Sql));
                    return numbers.collect();
                }
                Err(fault) => {
                    tries += 1;
                    // A deadlock, or a serialization failure.
                    let again = matches!(fault.code(), Some("40P01" | "40001"));
                    if !again || tries > DEADLOCKS {
                        return Err(fault);
                    }
                }
            }
        }
    }
}

/// Returns true if the values of one job may be the cause: invalid data, a violated constraint, or an exceeded limit.
fn is_of_one(fault: &Fault) -> bool {
    fault.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

fn reply(jobs: Vec<Job>, done: &HashSet<i32>) {
    for (number, job) in (0_i32..).zip(jobs) {
        // The caller may have dropped its future.
        let _ = job.reply.send(Ok(done.contains(&number)));
    }
}

fn refuse(jobs: Vec<Job>, fault: Fault) {
    let fault = Arc::new(fault);
    for job in jobs {
        let _ = job.reply.send(Err(fault.shared()));
    }
}

/// The creations of a batch as arrays, one for each column of `sql/write.sql`.
#[derive(Default)]
struct Creates<'j> {
    numbers: Vec<i32>,
    ids: Vec<&'j str>,
    sagas: Vec<&'j str>,
    versions: Vec<i64>,
    owners: Vec<Option<&'j str>>,
    records: Vec<i64>,
}

#[derive(Default)]
struct Appends<'j> {
    numbers: Vec<i32>,
    ids: Vec<&'j str>,
    heads: Vec<i64>,
    epochs: Vec<i64>,
    records: Vec<i64>,
    statuses: Vec<i16>,
    delays: Vec<Option<i64>>,
    stay: Vec<bool>,
}

#[derive(Default)]
struct Records<'j> {
    numbers: Vec<i32>,
    ids: Vec<&'j str>,
    places: Vec<i64>,
    bodies: Vec<&'j [u8]>,
}

#[derive(Default)]
struct Columns<'j> {
    creates: Creates<'j>,
    appends: Appends<'j>,
    records: Records<'j>,
}

fn statement(jobs: &[Job]) -> Statement<'static> {
    let mut columns = Columns::default();
    let mut created = HashSet::new();
    for (number, job) in (0_i32..).zip(jobs) {
        match &job.work {
            // A second creation of the same id finds the first one, as it would in the next batch.
            Work::Create(instance) if !created.insert(&*instance.id) => {}
            Work::Create(instance) => columns.create(number, instance),
            Work::Append { id, at, records, after_append, delay } => {
                columns.append(number, id, *at, records, *after_append, *delay);
            }
        }
    }
    let Columns { creates, appends, records } = columns;
    let statement = sqlx::query(include_str!("sql/write.sql"));
    let statement = statement.bind(creates.numbers).bind(creates.ids).bind(creates.sagas);
    let statement = statement.bind(creates.versions).bind(creates.owners).bind(creates.records);
    let statement =
        statement.bind(appends.numbers).bind(appends.ids).bind(appends.heads).bind(appends.epochs);
    let statement =
        statement.bind(appends.records).bind(appends.statuses).bind(appends.delays).bind(appends.stay);
    statement.bind(records.numbers).bind(records.ids).bind(records.places).bind(records.bodies)
}

impl<'j> Columns<'j> {
    fn create(&mut self, number: i32, instance: &'j NewInstance) {
        let creates = &mut self.creates;
        creates.numbers.push(number);
        creates.ids.push(&instance.id);
        creates.sagas.push(&instance.saga);
        creates.versions.push(i64::from(instance.version));
        creates.owners.push(instance.worker.as_deref());
        creates.records.push(instance.records.len() as i64);
        self.records(number, &instance.id, 0, &instance.records);
    }

    fn append(
        &mut self,
        number: i32,
        id: &'j str,
        at: Cursor,
        records: &'j [Vec<u8>],
        after_append: AfterAppend,
        delay: Option<i64>,
    ) {
        let status = match after_append {
            AfterAppend::Continue | AfterAppend::Runnable { .. } => Status::Running,
            AfterAppend::Parked => Status::Parked,
            AfterAppend::Finished(SagaOutcome::Completed) => Status::Completed,
            AfterAppend::Finished(SagaOutcome::Compensated) => Status::Compensated,
        };
        let appends = &mut self.appends;
        appends.numbers.push(number);
        appends.ids.push(id);
        appends.heads.push(signed(at.head));
        appends.epochs.push(signed(at.epoch));
        appends.records.push(records.len() as i64);
        appends.statuses.push(status_code(status));
        appends.delays.push(delay);
        appends.stay.push(after_append == AfterAppend::Continue);
        self.records(number, id, signed(at.head), records);
    }

    fn records(&mut self, number: i32, id: &'j str, from: i64, records: &'j [Vec<u8>]) {
        for (place, record) in (from..).zip(records) {
            self.records.numbers.push(number);
            self.records.ids.push(id);
            self.records.places.push(place);
            self.records.bodies.push(record);
        }
    }
}
