//! What has arrived: how often, from where, and whether it is what was sent.

use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::message::{BorrowedMessage, Message as _};

use crate::plan::{self, Plan};

/// No message has arrived.
const NOWHERE: u64 = u64::MAX;

/// What is known of all messages of a run.
pub(crate) struct Ledger {
    seed: u64,
    /// Where each message was seen first: partition and offset.
    places: Vec<AtomicU64>,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) arrived: AtomicU64,
    pub(crate) again: AtomicU64,
    pub(crate) doubled: AtomicU64,
    pub(crate) changed: AtomicU64,
    pub(crate) full: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(seed: u64, messages: u64) -> Self {
        let zero = AtomicU64::default;
        Self {
            seed,
            places: (0..messages).map(|_| AtomicU64::new(NOWHERE)).collect(),
            accepted: zero(),
            refused: zero(),
            arrived: zero(),
            again: zero(),
            doubled: zero(),
            changed: zero(),
            full: zero(),
        }
    }

    /// A message has arrived; gives its number.
    pub(crate) fn arrive(&self, message: &BorrowedMessage<'_>) -> u64 {
        let number = message.key().and_then(plan::number);
        let place = number.and_then(|number| Some((number, self.places.get(usize::try_from(number).ok()?)?)));
        let Some((number, place)) = place else {
            add(&self.changed);
            return 0;
        };
        let plan = Plan::new(self.seed, number);
        if !plan.is(message) {
            add(&self.changed);
        }
        if plan.is_full {
            add(&self.full);
        }
        let here = (message.partition() as u64) << 48 | message.offset() as u64;
        match place.compare_exchange(NOWHERE, here, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => add(&self.arrived),
            Err(first) if first == here => add(&self.again),
            Err(_) => add(&self.doubled),
        };
        number
    }

    pub(crate) fn lost(&self) -> u64 {
        get(&self.accepted).saturating_sub(get(&self.arrived))
    }
}

/// Counts one more, and says how many there are.
pub(crate) fn add(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::SeqCst) + 1
}

pub(crate) fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::SeqCst)
}
