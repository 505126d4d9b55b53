//! The journal under tokio's paused clock, which the server's clock is made to follow.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use otel_saga::journal::{
    AfterAppend, AppendError, CreateOutcome, Cursor, DefinitionKey, InstanceCount, InstanceSummary, Journal,
    JournalError, NewInstance, PostgresJournal, Query, StoredInstance, now,
};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use crate::support::Scratch;

#[derive(Debug)]
pub(crate) struct Clocked {
    inner: PostgresJournal,
    clock: Mutex<PgConnection>,
    _still: Still,
}

/// Keeps the paused clock from advancing while all tasks wait for an answer of the server.
#[derive(Debug)]
pub(crate) struct Still(#[expect(dead_code, reason = "its end is all that it tells")] Sender<()>);

impl Still {
    pub(crate) fn new() -> Self {
        let (still, released) = channel();
        tokio::task::spawn_blocking(move || released.recv());
        Self(still)
    }
}

impl Clocked {
    pub(crate) async fn new(database: &Scratch) -> Self {
        let still = Still::new();
        let inner = database.journal().await;
        let mut clock = PgConnection::connect(&database.url()).await.unwrap();
        let replace = "SET search_path = saga;
            CREATE TABLE clock (at bigint); INSERT INTO clock VALUES (0);
            CREATE OR REPLACE FUNCTION journal_now() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT at FROM clock'";
        sqlx::raw_sql(replace).execute(&mut clock).await.unwrap();
        Self { inner, clock: Mutex::new(clock), _still: still }
    }

    async fn set(&self) {
        let set = sqlx::query("UPDATE clock SET at = $1").bind(i64::try_from(now()).unwrap());
        set.execute(&mut *self.clock.lock().await).await.unwrap();
    }
}

#[async_trait]
impl Journal for Clocked {
    async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError> {
        self.set().await;
        self.inner.create(instance).await
    }

    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
    ) -> Result<Cursor, AppendError> {
        self.set().await;
        self.inner.append(id, at, records, after_append).await
    }

    async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<Cursor, AppendError> {
        self.set().await;
        self.inner.replace(id, at, from, records).await
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
        self.set().await;
        self.inner.claim(worker, definitions, limit).await
    }

    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<InstanceSummary>, JournalError> {
        self.set().await;
        self.inner.unclaimed(since, limit).await
    }

    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        self.set().await;
        self.inner.renew(worker, lease).await
    }

    async fn is_first(&self, worker: &str) -> Result<bool, JournalError> {
        self.set().await;
        self.inner.is_first(worker).await
    }

    async fn identity(&self) -> Result<Option<String>, JournalError> {
        self.inner.identity().await
    }

    async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, JournalError> {
        self.inner.list(query).await
    }

    async fn counts(&self) -> Result<Vec<InstanceCount>, JournalError> {
        self.inner.counts().await
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        self.set().await;
        self.inner.prune(ended_before, limit).await
    }
}
