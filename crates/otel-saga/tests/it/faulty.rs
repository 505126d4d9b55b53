//! A journal in front of the real one, which a test can make unavailable, or which loses replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use otel_saga::journal::{
    AfterAppend, AppendError, CreateOutcome, Cursor, DefinitionKey, InstanceCount, InstanceSummary, Journal,
    JournalError, NewInstance, Query, StoredInstance,
};

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Journal>,
    away: AtomicBool,
    /// Loses the reply to one of this many calls, after carrying it out; 0 loses none.
    loses_every: usize,
    loses_create: AtomicBool,
    asked: AtomicUsize,
    written: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new(inner: &Arc<dyn Journal>, loses_every: usize) -> Arc<Self> {
        let inner = Arc::clone(inner);
        Arc::new(Self {
            inner,
            away: false.into(),
            loses_every,
            loses_create: false.into(),
            asked: 0.into(),
            written: 0.into(),
        })
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Loses the reply to the next creation.
    pub(crate) fn lose_create(&self) {
        self.loses_create.store(true, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Returns the number of creations and appends, including failed ones.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }

    fn there(&self) -> Result<(), JournalError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) { Err(JournalError::Failed("away".into())) } else { Ok(()) }
    }

    /// Pseudo-random, because a regular pattern could always hit the same kind of call.
    fn loses(&self) -> bool {
        let mut mixed = (self.asked() as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.loses_every > 0 && (mixed >> 33).is_multiple_of(self.loses_every as u64)
    }
}

#[async_trait]
impl Journal for Faulty {
    async fn create(&self, instance: NewInstance) -> Result<CreateOutcome, JournalError> {
        self.there()?;
        self.written.fetch_add(1, Ordering::SeqCst);
        let created = self.inner.create(instance).await;
        let is_lost = self.loses_create.swap(false, Ordering::SeqCst) || self.loses();
        if is_lost { Err(JournalError::Unknown("lost".into())) } else { created }
    }

    async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: Vec<Vec<u8>>,
        after_append: AfterAppend,
    ) -> Result<Cursor, AppendError> {
        self.there()?;
        self.written.fetch_add(1, Ordering::SeqCst);
        let cursor = self.inner.append(id, at, records, after_append).await;
        if self.loses() { Err(JournalError::Unknown("lost".into()).into()) } else { cursor }
    }

    async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<Cursor, AppendError> {
        self.there()?;
        self.written.fetch_add(1, Ordering::SeqCst);
        let cursor = self.inner.replace(id, at, from, records).await;
        if self.loses() { Err(JournalError::Unknown("lost".into()).into()) } else { cursor }
    }

    async fn load(&self, id: &str) -> Result<Option<StoredInstance>, JournalError> {
        self.there()?;
        let loaded = self.inner.load(id).await;
        if self.loses() { Err(JournalError::Failed("lost".into())) } else { loaded }
    }

    async fn summary(&self, id: &str) -> Result<Option<InstanceSummary>, JournalError> {
        self.there()?;
        self.inner.summary(id).await
    }

    async fn claim(
        &self,
        worker: &str,
        definitions: Option<&[DefinitionKey]>,
        limit: usize,
    ) -> Result<Vec<InstanceSummary>, JournalError> {
        self.there()?;
        let claimed = self.inner.claim(worker, definitions, limit).await;
        if self.loses() { Err(JournalError::Unknown("lost".into())) } else { claimed }
    }

    async fn unclaimed(&self, since: u64, limit: usize) -> Result<Vec<InstanceSummary>, JournalError> {
        self.there()?;
        self.inner.unclaimed(since, limit).await
    }

    async fn renew(&self, worker: &str, lease: Duration) -> Result<(), JournalError> {
        self.there()?;
        self.inner.renew(worker, lease).await
    }

    async fn is_first(&self, worker: &str) -> Result<bool, JournalError> {
        // Not counted, so that it does not change which replies are lost.
        if self.away.load(Ordering::SeqCst) {
            return Err(JournalError::Failed("away".into()));
        }
        self.inner.is_first(worker).await
    }

    async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, JournalError> {
        self.there()?;
        self.inner.list(query).await
    }

    async fn counts(&self) -> Result<Vec<InstanceCount>, JournalError> {
        self.there()?;
        self.inner.counts().await
    }

    async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, JournalError> {
        self.there()?;
        self.inner.prune(ended_before, limit).await
    }
}
