//! The background loops of a runtime: renewing its lease, claiming due instances, pruning ended ones, and reading the
//! gauges.
//!
//! Follows `docs/sagas.md`, "Leases and recovery": a saga that cannot be read is parked alone, and no other stops.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::drive::InstanceDriver;
use super::{Inner, RegisteredSaga};
use crate::admin::read;
use crate::error::{BoxError, Text, with_causes};
use crate::flow::{Record, State};
use crate::journal::{
    AfterAppend, AppendError, DefinitionKey, InstanceCount, InstanceSummary, JournalError, Query, Status,
    StoredInstance, millis, now,
};
use crate::telemetry::alert;
use crate::two_phase::is_transaction;

/// Maximum number of instances in one claim. It is small, so that the first instance does not wait long for the
/// others.
const BATCH: usize = 64;
/// Maximum number of instances that one request prunes.
const PRUNED: usize = 1000;
/// Interval of reading gauges and pruning.
const HOUSEKEEPING: Duration = Duration::from_secs(15);
/// Time after which an instance that no worker has claimed raises an alert.
const UNCLAIMED: Duration = Duration::from_secs(300);
/// Maximum number of unclaimed instances that one check reads.
const MOST_UNCLAIMED: usize = 1000;

/// Spawns the loops.
pub(super) fn spawn<S: Send + Sync + 'static>(inner: &Arc<Inner<S>>) {
    let lease = tokio::spawn(Arc::clone(inner).keep_lease());
    let claims = tokio::spawn(Arc::clone(inner).keep_claiming());
    let house = tokio::spawn(Arc::clone(inner).keep_house());
    let mut loops = inner.loops.lock().unwrap_or_else(PoisonError::into_inner);
    loops.extend([lease.abort_handle(), claims.abort_handle(), house.abort_handle()]);
}

impl<S: Send + Sync + 'static> Inner<S> {
    async fn keep_lease(self: Arc<Self>) {
        self.lease.keep().await;
    }

    async fn keep_claiming(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        while !*stopping.borrow() {
            // A slot that becomes free wakes this loop if instances were left in the journal for want of one.
            if self.lease.is_valid().await && self.claim().await {
                continue;
            }
            // At most once per wait for the poll interval or a wake-up, so that an unavailable journal is not asked
            // in a loop.
            if self.ownership_unknown.swap(false, Ordering::Relaxed)
                && let Err(error) = self.release_undriven().await
            {
                alert("", "", "the journal did not say what this worker has", &*error);
                self.ownership_unknown.store(true, Ordering::Relaxed);
            }
            tokio::select! {
                () = sleep(self.options.poll) => {}
                () = self.wake_claimer.notified() => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Releases the instances that the journal assigns to this worker and that it does not drive, so that they can be
    /// claimed. An instance that is just being created on this worker is fenced by that, and continues at the worker that
    /// claims it.
    async fn release_undriven(&self) -> Result<(), BoxError> {
        let mut query = Query { status: Some(Status::Running), ..Query::default() };
        loop {
            let page = self.journal.list(&query).await?;
            let Some(last) = page.last() else { return Ok(()) };
            query.after = Some(last.id.clone());
            for summary in page {
                let mine = summary.owner.as_ref() == Some(&self.options.worker);
                if mine && !self.local().contains_key(&summary.id) {
                    let after_append = AfterAppend::Runnable { at: now() };
                    match self.journal.append(&summary.id, summary.cursor(), Vec::new(), after_append).await {
                        Ok(_) | Err(AppendError::Fenced) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    /// Claims instances of the definitions that have free slots, as many as there are slots. Returns true if more may be
    /// due.
    async fn claim(self: &Arc<Self>) -> bool {
        let (mut definitions, mut room) = (Vec::new(), 0_usize);
        for ((saga, version), known) in &self.sagas {
            let free = known.slots.room();
            if free > 0 {
                definitions.push(DefinitionKey::new(saga, *version));
                room = room.saturating_add(free);
            }
        }
        if definitions.is_empty() {
            return false;
        }
        let room = room.min(BATCH);
        let claimed = self.journal.claim(&self.options.worker, Some(&definitions), room).await;
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                alert("", "", "the journal did not say which sagas are due", &error);
                if matches!(error, JournalError::Unknown(_)) {
                    self.ownership_unknown.store(true, Ordering::Relaxed);
                }
                return false;
            }
        };
        let full = claimed.len() == room;
        for summary in claimed {
            let id = summary.id.clone();
            if let Err(error) = self.resume(summary).await {
                alert(&id, "", "saga stopped on this worker", &*error);
                self.ownership_unknown.store(true, Ordering::Relaxed);
            }
        }
        full
    }

    /// Resumes a claimed instance, or parks it.
    async fn resume(self: &Arc<Self>, summary: InstanceSummary) -> Result<(), BoxError> {
        let loaded = match self.journal.load(&summary.id).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(()),
            Err(error @ JournalError::Damaged { .. }) => {
                // Parked, because otherwise each claim would return it again.
                alert(&summary.id, "", "the saga was parked", &error);
                self.journal.append(&summary.id, summary.cursor(), Vec::new(), AfterAppend::Parked).await?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if loaded.summary.epoch != summary.epoch {
            return Ok(());
        }
        match self.readable(&loaded) {
            Ok((known, state)) => {
                let cursor = loaded.summary.cursor();
                let mut driver = InstanceDriver::new(self, known, summary.id.into(), state, cursor);
                driver.take_over(&loaded.records)?;
                // Taken at once, so that the next claim counts only the slots that are left.
                driver.slots.reserve();
                driver.spawn();
                Ok(())
            }
            Err(reason) => {
                alert(&summary.id, "", "the saga was parked", &*reason);
                let parked = Record::Parked { reason: with_causes(&*reason) }.encode()?;
                self.journal
                    .append(&summary.id, loaded.summary.cursor(), vec![parked], AfterAppend::Parked)
                    .await?;
                Ok(())
            }
        }
    }

    fn readable(&self, loaded: &StoredInstance) -> Result<(RegisteredSaga<S>, State), BoxError> {
        let state = read(loaded)?;
        let (saga, version) = (&state.started.saga, state.started.version);
        let known = self.known(saga, version);
        let known = known
            .ok_or_else(|| format!("version {version} of `{saga}` is not registered with this worker"))?;
        if known.definition.specs != state.started.steps {
            return Err(format!("the steps of `{saga}`, version {version}, are others than they were").into());
        }
        Ok((known.clone(), state))
    }

    async fn keep_house(self: Arc<Self>) {
        let mut checked = Instant::now();
        loop {
            for exhausted in self.sagas.values().flat_map(|known| known.slots.exhausted()) {
                alert("", "", "no slot was free for a minute", &Text(&exhausted));
            }
            if checked.elapsed() >= UNCLAIMED {
                checked = Instant::now();
                self.find_unclaimed().await;
            }
            match self.counts().await {
                Ok(None) => self.telemetry.clear_gauges(),
                Ok(Some(counts)) => {
                    let mut sagas: Vec<&str> = self.sagas.keys().map(|(name, _)| &**name).collect();
                    sagas.sort_unstable();
                    sagas.dedup();
                    self.telemetry.counted(&sagas, &counts, now());
                }
                Err(error) => alert("", "", "the journal's sagas were not counted", &error),
            }
            if let Some(retention) = self.options.retention {
                self.prune(retention).await;
            }
            sleep(HOUSEKEEPING).await;
        }
    }

    /// Returns the counts of the journal if this worker is the one that records them: the gauges of several workers would
    /// be added up.
    async fn counts(&self) -> Result<Option<Vec<InstanceCount>>, JournalError> {
        if self.lease.is_valid().await && self.journal.is_first(&self.options.worker).await? {
            return self.journal.counts().await.map(Some);
        }
        Ok(None)
    }

    /// Raises one alert for each definition that has instances that no worker has claimed for long.
    async fn find_unclaimed(&self) {
        let since = now().saturating_sub(millis(UNCLAIMED));
        let unclaimed = match self.journal.unclaimed(since, MOST_UNCLAIMED).await {
            Ok(unclaimed) => unclaimed,
            Err(error) => {
                return alert("", "", "unclaimed sagas were not listed", &error);
            }
        };
        let mut definitions: BTreeMap<(&str, u32), (&InstanceSummary, usize)> = BTreeMap::new();
        for summary in &unclaimed {
            definitions.entry((&summary.saga, summary.version)).or_insert((summary, 0)).1 += 1;
        }
        for ((saga, version), (summary, count)) in definitions {
            let cause = if self.known(saga, version).is_some() {
                "no worker has a free slot for them"
            } else if is_transaction(saga) {
                "they are two-phase commits: the journal is a coordinator's"
            } else {
                "register the definition with a worker"
            };
            let text = format!("{count} instances of version {version} of `{saga}` wait: {cause}");
            alert(&summary.id, "", "saga not claimed for 5 minutes", &Text(&text));
        }
    }

    async fn prune(&self, retention: Duration) {
        let before = now().saturating_sub(millis(retention));
        loop {
            match self.journal.prune(before, PRUNED).await {
                Ok(pruned) if pruned == PRUNED as u64 => {}
                Ok(_) => return,
                Err(error) => return alert("", "", "ended sagas were not forgotten", &error),
            }
        }
    }
}
