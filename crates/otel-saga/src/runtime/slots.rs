//! The slots of a definition's attempts on this worker: the limit of the definition, and limits of single steps.
//!
//! Follows `docs/sagas.md`, "Slots": a running attempt holds a slot; an instance that waits holds none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::definition::Definition;

/// Maximum number of instances of a definition that wait for a slot, or for a short back-off, in memory. Further ones
/// are left in the journal.
const WAITING: usize = 1024;
/// Time after which a pool without a free slot raises an alert.
const EXHAUSTED: Duration = Duration::from_secs(60);
/// Interval at which that alert is repeated.
const REPEATED: Duration = Duration::from_secs(300);
/// The step of a slot that was taken for any step. A definition has at most 1000 steps.
const NO_STEP: u16 = u16::MAX;

tokio::task_local! {
    /// The slot of the attempt that the current task runs.
    static CURRENT: Arc<HeldSlot>;
}

/// The slots of one definition.
pub(super) struct Slots {
    definition: Pool,
    /// By step; `None` for a step without a limit of its own.
    steps: Vec<Option<Pool>>,
    /// The number of instances in memory.
    driven: AtomicUsize,
    /// The number of attempts that wait for another saga.
    suspended: AtomicUsize,
    /// True if the journal may hold due instances that were left there for want of a slot.
    wanted: AtomicBool,
    claimer: Arc<Notify>,
}

struct Pool {
    permits: Arc<Semaphore>,
    limit: usize,
    /// The name for alerts.
    name: String,
    exhausted: Mutex<Exhausted>,
}

/// The time since which each check found no free slot, and that of the last alert.
#[derive(Default)]
struct Exhausted {
    since: Option<Instant>,
    alerted: Option<Instant>,
}

impl Pool {
    fn new(limit: usize, name: String) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(limit)), limit, name, exhausted: Mutex::default() }
    }

    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Returns a text for an alert if no check has found a free slot for long.
    fn check(&self, now: Instant) -> Option<String> {
        let mut exhausted = self.exhausted.lock().unwrap_or_else(PoisonError::into_inner);
        if self.permits.available_permits() > 0 {
            *exhausted = Exhausted::default();
            return None;
        }
        let since = *exhausted.since.get_or_insert(now);
        let repeats = exhausted.alerted.is_none_or(|at| now.duration_since(at) >= REPEATED);
        if now.duration_since(since) < EXHAUSTED || !repeats {
            return None;
        }
        exhausted.alerted = Some(now);
        let Self { limit, name, .. } = self;
        Some(format!("all {limit} slots of {name} are in use: shorten its time-out, or raise its limit"))
    }
}

/// The slots of one instance.
pub(super) struct InstanceSlots {
    shared: Arc<Slots>,
    /// Slots for the attempts of the next plan: of attempts that have ended, or acquired by waiting.
    spare: Vec<Slot>,
}

impl InstanceSlots {
    pub(super) fn new(shared: Arc<Slots>) -> Self {
        Self { shared, spare: Vec::new() }
    }

    pub(super) fn shared(&self) -> Arc<Slots> {
        Arc::clone(&self.shared)
    }

    /// Adds a slot for the next plan.
    pub(super) fn extend(&mut self, slot: Option<Slot>) {
        self.spare.extend(slot);
    }

    /// Takes a slot for the next plan, if one is free.
    pub(super) fn reserve(&mut self) {
        self.spare.extend(self.shared.try_acquire_any());
    }

    /// Returns a slot for an attempt of this step, if one is free.
    pub(super) fn take(&mut self, step: u16) -> Option<Slot> {
        // A slot of the instance moves on to its next step, so that sequential steps need no append in between.
        match self.spare.pop() {
            Some(slot) => slot.move_to(step),
            None => self.shared.try_acquire(step),
        }
    }

    /// Frees the slots that the plan did not take.
    pub(super) fn free(&mut self) {
        self.spare.clear();
    }
}

/// The right to run one attempt. Dropping it frees the slot.
pub(super) struct Slot {
    slots: Arc<Slots>,
    /// `None` after the slot was moved to another one.
    definition: Option<OwnedSemaphorePermit>,
    step: u16,
    _own: Option<OwnedSemaphorePermit>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.definition.take().is_some() && self.slots.wanted.swap(false, Ordering::AcqRel) {
            self.slots.claimer.notify_one();
        }
    }
}

impl Slot {
    /// Turns the slot of an attempt that has ended into one of another step. Returns `None`, and frees the slot, if that
    /// step has no free one.
    pub(super) fn move_to(mut self, step: u16) -> Option<Self> {
        if step == self.step {
            return Some(self);
        }
        let own = self.slots.own(step).map(Pool::try_acquire);
        if let Some(None) = own {
            return None;
        }
        let (slots, definition) = (Arc::clone(&self.slots), self.definition.take());
        Some(Self { slots, definition, step, _own: own.flatten() })
    }
}

impl Slots {
    pub(super) fn new<S>(definition: &Definition<S>, default: usize, claimer: &Arc<Notify>) -> Self {
        let name = format!("`{}`, version {}", definition.name, definition.version);
        let steps = definition.steps.iter().map(|step| {
            step.policy.concurrency.map(|limit| Pool::new(limit, format!("step `{}` of {name}", step.name)))
        });
        let steps = steps.collect();
        Self {
            definition: Pool::new(definition.concurrency.unwrap_or(default), name),
            steps,
            driven: AtomicUsize::new(0),
            suspended: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            claimer: Arc::clone(claimer),
        }
    }

    fn own(&self, step: u16) -> Option<&Pool> {
        self.steps.get(usize::from(step)).and_then(Option::as_ref)
    }

    /// Takes a slot for an attempt of this step, if one is free.
    pub(super) fn try_acquire(self: &Arc<Self>, step: u16) -> Option<Slot> {
        let own = self.own(step).map(Pool::try_acquire);
        if let Some(None) = own {
            return None;
        }
        let definition = Some(self.definition.try_acquire()?);
        Some(Slot { slots: Arc::clone(self), definition, step, _own: own.flatten() })
    }

    /// Takes a slot for the first attempt of an instance that was claimed, if one is free.
    pub(super) fn try_acquire_any(self: &Arc<Self>) -> Option<Slot> {
        let definition = Some(self.definition.try_acquire()?);
        Some(Slot { slots: Arc::clone(self), definition, step: NO_STEP, _own: None })
    }

    /// Waits for a slot for an attempt of this step.
    pub(super) async fn acquire(self: &Arc<Self>, step: u16) -> Slot {
        // The step's first: an attempt that waits for its step must not take a slot from other steps.
        let own = match self.own(step) {
            Some(pool) => pool.acquire().await,
            None => None,
        };
        let definition = self.definition.acquire().await;
        Slot { slots: Arc::clone(self), definition, step, _own: own }
    }

    /// Returns the number of due instances that this worker can claim.
    pub(super) fn room(&self) -> usize {
        // Set before the slots are counted, so that one that is freed in between wakes the claiming loop.
        self.wanted.store(true, Ordering::Release);
        let free = self.definition.permits.available_permits();
        let running = self.definition.limit.saturating_sub(free);
        let without_slot = self.driven.load(Ordering::Acquire).saturating_sub(running);
        let waiting = without_slot.saturating_sub(self.suspended.load(Ordering::Acquire));
        let room = if waiting < WAITING { free } else { 0 };
        if room > 0 {
            self.wanted.store(false, Ordering::Release);
        }
        room
    }

    /// Returns a text for each pool that has had no free slot for long.
    pub(super) fn exhausted(&self) -> Vec<String> {
        let now = Instant::now();
        let pools = std::iter::once(&self.definition).chain(self.steps.iter().flatten());
        pools.filter_map(|pool| pool.check(now)).collect()
    }
}

/// Counts an instance that this worker drives, until it is dropped.
pub(super) struct Driven {
    slots: Arc<Slots>,
    all: Arc<watch::Sender<usize>>,
}

impl Driven {
    pub(super) fn new(slots: &Arc<Slots>, all: &Arc<watch::Sender<usize>>) -> Self {
        slots.driven.fetch_add(1, Ordering::AcqRel);
        all.send_modify(|driven| *driven += 1);
        Self { slots: Arc::clone(slots), all: Arc::clone(all) }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.slots.driven.fetch_sub(1, Ordering::AcqRel);
        self.all.send_modify(|driven| *driven = driven.saturating_sub(1));
    }
}

/// The slot of a running attempt, which it gives back while it waits for another saga.
pub(super) struct HeldSlot(Mutex<Option<Slot>>);

impl HeldSlot {
    fn slot(&self) -> MutexGuard<'_, Option<Slot>> {
        // A poisoned lock is safe to use: no code below it panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an attempt with its slot. Returns the slot with the output, unless the attempt gave it back.
    pub(super) async fn run<T>(slot: Slot, attempt: impl Future<Output = T>) -> (T, Option<Slot>) {
        let held = Arc::new(Self(Mutex::new(Some(slot))));
        let output = CURRENT.scope(Arc::clone(&held), attempt).await;
        let slot = held.slot().take();
        (output, slot)
    }
}

/// An attempt without a slot, because it waits for another saga.
pub(super) struct Suspended {
    held: Arc<HeldSlot>,
    slots: Arc<Slots>,
    step: u16,
    has_ended: bool,
}

impl Suspended {
    /// Gives the slot of the current attempt back. Returns `None` outside of an attempt.
    pub(super) fn begin() -> Option<Self> {
        let held = CURRENT.try_with(Arc::clone).ok()?;
        let slot = held.slot().take()?;
        let (slots, step) = (Arc::clone(&slot.slots), slot.step);
        slots.suspended.fetch_add(1, Ordering::AcqRel);
        drop(slot);
        Some(Self { held, slots, step, has_ended: false })
    }

    /// Waits for a slot with which the attempt continues.
    pub(super) async fn end(mut self) {
        let slot = self.slots.acquire(self.step).await;
        *self.held.slot() = Some(slot);
        self.has_ended = true;
    }
}

impl Drop for Suspended {
    /// A step that drops its wait, as by a time-out, takes a slot again if one is free. It cannot be made to wait for one.
    fn drop(&mut self) {
        if !self.has_ended {
            *self.held.slot() = self.slots.try_acquire(self.step);
        }
        self.slots.suspended.fetch_sub(1, Ordering::AcqRel);
    }
}
