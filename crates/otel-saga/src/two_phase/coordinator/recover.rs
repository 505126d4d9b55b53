//! The background loops of a coordinator: renewing its lease, claiming due transactions, ending stray branches,
//! pruning, and reading the gauges.
//!
//! Follows `docs/sagas.md`, "Leases and recovery": a transaction that cannot be read, or whose participant is unknown
//! to this coordinator, is put off alone.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use opentelemetry::Context;
use otel_propagation::context_with_remote_parent;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::append::read;
use super::drive::Drive;
use super::{Inner, KIND, LocalGuard};
use crate::error::BoxError;
use crate::journal::{
    AfterAppend, AppendError, InstanceCount, InstanceSummary, JournalError, Query, Status, millis, now,
};
use crate::telemetry::parse_traceparent;
use crate::two_phase::flow::State;
use crate::two_phase::telemetry::{InDoubt, alert};

/// Maximum number of transactions in one claim.
const BATCH: usize = 64;
/// Maximum number of transactions that one request prunes.
const PRUNED: usize = 1000;
/// Interval of reading gauges, ending stray branches and pruning.
const HOUSEKEEPING: Duration = Duration::from_secs(15);
/// Delay until a transaction that this coordinator cannot resume can be claimed again.
const LATER: Duration = Duration::from_secs(30);

/// Spawns the loops.
pub(super) fn spawn(inner: &Arc<Inner>) {
    let lease = tokio::spawn(Arc::clone(inner).keep_lease());
    let claims = tokio::spawn(Arc::clone(inner).keep_claiming());
    let house = tokio::spawn(Arc::clone(inner).keep_house());
    let mut loops = inner.loops.lock().unwrap_or_else(PoisonError::into_inner);
    loops.extend([lease.abort_handle(), claims.abort_handle(), house.abort_handle()]);
}

/// Returns the parent context of the calls of a claimed transaction, restored from the journal.
pub(super) fn context(state: &State) -> Context {
    state
        .started
        .trace
        .as_deref()
        .and_then(parse_traceparent)
        .map_or_else(Context::new, context_with_remote_parent)
}

impl Inner {
    async fn keep_lease(self: Arc<Self>) {
        self.lease.keep().await;
    }

    async fn keep_claiming(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        while !*stopping.borrow() {
            let Ok(room) = Arc::clone(&self.permits).acquire_owned().await else { return };
            if !*stopping.borrow() && self.lease.is_valid().await && self.claim(room).await {
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

    /// Releases the transactions that the journal assigns to this worker and that it does not drive, so that they can
    /// be claimed.
    async fn release_undriven(&self) -> Result<(), BoxError> {
        let mut query = Query { status: Some(Status::Running), ..Query::default() };
        loop {
            let page = self.journal.list(&query).await?;
            let Some(last) = page.last() else { return Ok(()) };
            query.after = Some(last.id.clone());
            for summary in page {
                let mine = summary.owner.as_ref() == Some(&self.options.worker);
                if mine && !self.local().values().any(|task| task.id == summary.id) {
                    self.release(&summary, now()).await?;
                }
            }
        }
    }

    /// Makes the transaction claimable from this time on, unless its cursor has progress.
    async fn release(&self, summary: &InstanceSummary, at: u64) -> Result<(), BoxError> {
        match self
            .journal
            .append(&summary.id, summary.cursor(), Vec::new(), AfterAppend::Runnable { at })
            .await
        {
            Ok(_) | Err(AppendError::Fenced) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Claims as many transactions as there are permits. Returns true if more may be due.
    async fn claim(self: &Arc<Self>, room: OwnedSemaphorePermit) -> bool {
        let mut rooms = vec![room];
        while rooms.len() < BATCH
            && let Ok(room) = Arc::clone(&self.permits).try_acquire_owned()
        {
            rooms.push(room);
        }
        let claimed = match self.journal.claim(&self.options.worker, None, rooms.len()).await {
            Ok(claimed) => claimed,
            Err(error) => {
                alert("", "", "the journal did not say which transactions are due", &error);
                if matches!(error, JournalError::Unknown(_)) {
                    self.ownership_unknown.store(true, Ordering::Relaxed);
                }
                return false;
            }
        };
        let full = claimed.len() == rooms.len();
        for (summary, room) in claimed.into_iter().zip(rooms) {
            let inner = Arc::clone(self);
            let id = summary.id.clone();
            self.spawn(&id, move |guard| inner.resume(summary, guard, room).boxed());
        }
        full
    }

    /// Resumes a claimed transaction, or puts it off.
    async fn resume(
        self: Arc<Self>,
        summary: InstanceSummary,
        guard: LocalGuard,
        room: OwnedSemaphorePermit,
    ) {
        if let Err(error) = self.drive_claimed(&summary).await {
            alert(&summary.id, "", "transaction stopped on this coordinator", &*error);
            // The release is fenced if the transaction made progress, or if another coordinator has claimed it.
            if let Err(error) = self.release(&summary, now().saturating_add(millis(LATER))).await {
                alert(&summary.id, "", "the journal did not take the transaction back", &*error);
                self.ownership_unknown.store(true, Ordering::Relaxed);
            }
        }
        drop((guard, room));
    }

    async fn drive_claimed(self: &Arc<Self>, summary: &InstanceSummary) -> Result<(), BoxError> {
        let Some(loaded) = self.journal.load(&summary.id).await? else { return Ok(()) };
        if loaded.summary.epoch != summary.epoch {
            return Ok(());
        }
        let state = read(&loaded)?;
        if state.waiting.is_none() {
            self.telemetry.interrupted(&summary.id, &state);
        }
        let context = context(&state);
        let drive = Drive::claimed(self, &summary.id, state, loaded.summary.cursor(), context)?;
        drive.run(&mut None).await?;
        Ok(())
    }

    async fn keep_house(self: Arc<Self>) {
        let mut names = BTreeSet::new();
        loop {
            match self.journal.counts().await {
                Ok(counts) => {
                    self.count(&counts, &mut names).await;
                    self.find_strays().await;
                    self.prune(&counts).await;
                }
                Err(error) => {
                    alert("", "", "the journal's transactions were not counted", &error);
                    self.find_strays().await;
                }
            }
            sleep(HOUSEKEEPING).await;
        }
    }

    /// Sets the gauges, also for names that no longer have a transaction in doubt. Only one coordinator of the journal
    /// records them, because those of several would be added up.
    async fn count(&self, counts: &[InstanceCount], names: &mut BTreeSet<String>) {
        names.extend(counts.iter().map(|count| count.saga.clone()));
        let is_first = match self.journal.is_first(&self.options.worker).await {
            Ok(is_first) => is_first,
            Err(error) => return alert("", "", "the first coordinator is unknown", &error),
        };
        let in_doubt = |name: &String| {
            let unfinished = counts.iter().filter(|one| one.saga == *name && !one.status.is_finished());
            let (count, oldest) = unfinished
                .fold((0, now()), |(count, oldest), one| (count + one.count, oldest.min(one.oldest)));
            let age = Duration::from_millis(now().saturating_sub(oldest));
            InDoubt::new(name.strip_prefix(KIND).unwrap_or(name), count, age)
        };
        let gauges = if is_first { names.iter().map(in_doubt).collect() } else { Vec::new() };
        self.telemetry.set_gauges(gauges);
    }

    /// Prunes ended transactions, in the journal and at the participants. These keep their branches longer, by the
    /// age of the oldest transaction that has not ended.
    async fn prune(&self, counts: &[InstanceCount]) {
        let Some(retention) = self.options.retention else { return };
        let unfinished = counts.iter().filter(|count| !count.status.is_finished());
        let oldest = unfinished.map(|count| count.oldest).min().unwrap_or_else(now);
        let in_doubt = Duration::from_millis(now().saturating_sub(oldest));
        self.prune_participants(retention.saturating_add(in_doubt)).await;
        let before = now().saturating_sub(millis(retention));
        loop {
            match self.journal.prune(before, PRUNED).await {
                Ok(pruned) if pruned == PRUNED as u64 => {}
                Ok(_) => return,
                Err(error) => {
                    return alert("", "", "ended transactions were not forgotten", &error);
                }
            }
        }
    }
}
