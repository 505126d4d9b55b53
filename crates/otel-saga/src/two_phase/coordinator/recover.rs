//! The background loops of a coordinator: renewing its lease, claiming due transactions, ending stray branches,
//! pruning, and reading the gauges.
//!
//! Follows `docs/sagas.md`, "Leases and recovery": a transaction that cannot be read, or whose participant is unknown
//! here, is put off alone.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use opentelemetry::Context;
use otel_propagation::context_with_remote_parent;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::append::read;
use super::drive::Drive;
use super::{Inner, KIND, Present};
use crate::error::BoxError;
use crate::journal::{AppendError, Count, Header, JournalError, Query, Status, Then, millis, now};
use crate::telemetry::parse_traceparent;
use crate::two_phase::flow::State;
use crate::two_phase::telemetry::alert;

/// Maximum number of transactions in one claim.
const BATCH: usize = 64;
/// Maximum number of transactions that one request prunes.
const PRUNED: usize = 1000;
/// Interval of reading gauges, ending stray branches and pruning.
const HOUSEKEEPING: Duration = Duration::from_secs(15);
/// Delay until a transaction that cannot be resumed here can be claimed again.
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
        loop {
            sleep(self.options.lease / 3).await;
            self.renewed().await;
        }
    }

    pub(super) async fn renew(&self) -> Result<(), JournalError> {
        let began = Instant::now();
        self.journal.renew(&self.options.worker, self.options.lease).await?;
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        Ok(())
    }

    async fn renewed(&self) -> bool {
        let renewed = self.renew().await;
        if let Err(error) = &renewed {
            alert("", "", "the lease was not renewed", &error.to_string());
        }
        renewed.is_ok()
    }

    /// Returns true if the lease is valid, renewing it if necessary.
    pub(super) async fn has_lease(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.is_some_and(|at| at.elapsed() < self.options.lease / 2) || self.renewed().await
    }

    async fn keep_claiming(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        while !*stopping.borrow() {
            let Ok(room) = Arc::clone(&self.permits).acquire_owned().await else { return };
            if !*stopping.borrow() && self.has_lease().await && self.claim(room).await {
                continue;
            }
            // At most once per wait for the poll interval or a wake-up, so that an unavailable journal is not asked
            // in a loop.
            if self.astray.swap(false, Ordering::Relaxed)
                && let Err(error) = self.release_astray().await
            {
                alert("", "", "the journal did not say what this worker has", &error.to_string());
                self.astray.store(true, Ordering::Relaxed);
            }
            tokio::select! {
                () = sleep(self.options.poll) => {}
                () = self.poke.notified() => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Releases the transactions that the journal assigns to this worker and that it does not drive, so that they can
    /// be claimed.
    async fn release_astray(&self) -> Result<(), BoxError> {
        let mut query = Query { status: Some(Status::Running), ..Query::default() };
        loop {
            let page = self.journal.list(&query).await?;
            let Some(last) = page.last() else { return Ok(()) };
            query.after = Some(last.id.clone());
            for header in page {
                let mine = header.owner.as_ref() == Some(&self.options.worker);
                if mine && !self.here().values().any(|here| here.id == header.id) {
                    self.release(&header, now()).await?;
                }
            }
        }
    }

    /// Makes the transaction claimable from this time on, unless its cursor has moved.
    async fn release(&self, header: &Header, at: u64) -> Result<(), BoxError> {
        match self.journal.append(&header.id, header.cursor(), Vec::new(), Then::Runnable { at }).await {
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
                alert("", "", "the journal did not say which transactions are due", &error.to_string());
                if matches!(error, JournalError::Unknown(_)) {
                    self.astray.store(true, Ordering::Relaxed);
                }
                return false;
            }
        };
        let full = claimed.len() == rooms.len();
        for (header, room) in claimed.into_iter().zip(rooms) {
            let inner = Arc::clone(self);
            let id = header.id.clone();
            self.spawn(&id, move |present| inner.resume(header, present, room).boxed());
        }
        full
    }

    /// Resumes a claimed transaction, or puts it off.
    async fn resume(self: Arc<Self>, header: Header, present: Present, room: OwnedSemaphorePermit) {
        if let Err(error) = self.go_on(&header).await {
            alert(&header.id, "", "the transaction cannot go on here", &error.to_string());
            // The release is fenced if the transaction made progress here, or if another coordinator has claimed it.
            if let Err(error) = self.release(&header, now().saturating_add(millis(LATER))).await {
                alert(&header.id, "", "the journal did not take the transaction back", &error.to_string());
                self.astray.store(true, Ordering::Relaxed);
            }
        }
        drop((present, room));
    }

    async fn go_on(self: &Arc<Self>, header: &Header) -> Result<(), BoxError> {
        let Some(loaded) = self.journal.load(&header.id).await? else { return Ok(()) };
        if loaded.header.epoch != header.epoch {
            return Ok(());
        }
        let state = read(&loaded)?;
        if state.waiting.is_none() {
            self.telemetry.interrupted(&header.id, &state);
        }
        let context = context(&state);
        let drive = Drive::claimed(self, &header.id, state, loaded.header.cursor(), context)?;
        drive.run(&mut None).await?;
        Ok(())
    }

    async fn keep_house(self: Arc<Self>) {
        let mut names = BTreeSet::new();
        loop {
            match self.journal.counts().await {
                Ok(counts) => {
                    self.count(&counts, &mut names);
                    self.find_strays().await;
                    self.prune(&counts).await;
                }
                Err(error) => {
                    alert("", "", "the journal's transactions were not counted", &error.to_string());
                    self.find_strays().await;
                }
            }
            sleep(HOUSEKEEPING).await;
        }
    }

    /// Records the gauges, also for names that no longer have a transaction in doubt.
    fn count(&self, counts: &[Count], names: &mut BTreeSet<String>) {
        names.extend(counts.iter().map(|count| count.saga.clone()));
        for name in &*names {
            let unfinished = counts.iter().filter(|one| one.saga == *name && !one.status.is_finished());
            let (mut count, mut oldest) = (0, now());
            for one in unfinished {
                count += one.count;
                oldest = oldest.min(one.oldest);
            }
            let age = Duration::from_millis(now().saturating_sub(oldest));
            self.telemetry.counted(name.strip_prefix(KIND).unwrap_or(name), count, age);
        }
    }

    /// Prunes ended transactions, in the journal and at the participants. These keep their branches longer, by the
    /// age of the oldest transaction that has not ended.
    async fn prune(&self, counts: &[Count]) {
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
                    return alert("", "", "ended transactions were not forgotten", &error.to_string());
                }
            }
        }
    }
}
