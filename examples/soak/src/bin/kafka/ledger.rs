//! The record of received messages: position and number of deliveries, and comparison with the sent message.

use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::message::{BorrowedMessage, Message as _};
use soak::{add, get};

use crate::plan::{self, Plan};

/// The position of a message that has not arrived.
const NOT_ARRIVED: u64 = u64::MAX;

/// The counts of a run.
pub(crate) struct Ledger {
    seed: u64,
    /// The position of each message's first delivery, encoded from partition and offset.
    positions: Vec<AtomicU64>,
    pub(crate) accepted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) arrived: AtomicU64,
    pub(crate) redelivered: AtomicU64,
    pub(crate) duplicated: AtomicU64,
    pub(crate) changed: AtomicU64,
    pub(crate) full: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(seed: u64, messages: u64) -> Self {
        let zero = AtomicU64::default;
        Self {
            seed,
            positions: (0..messages).map(|_| AtomicU64::new(NOT_ARRIVED)).collect(),
            accepted: zero(),
            rejected: zero(),
            arrived: zero(),
            redelivered: zero(),
            duplicated: zero(),
            changed: zero(),
            full: zero(),
        }
    }

    /// Records a received message and returns its number.
    pub(crate) fn arrive(&self, message: &BorrowedMessage<'_>) -> u64 {
        let number = message.key().and_then(plan::number);
        let entry =
            number.and_then(|number| Some((number, self.positions.get(usize::try_from(number).ok()?)?)));
        let Some((number, position)) = entry else {
            add(&self.changed);
            return 0;
        };
        let plan = Plan::new(self.seed, number);
        if !plan.matches(message) {
            add(&self.changed);
        }
        if plan.is_full {
            add(&self.full);
        }
        let current = (message.partition() as u64) << 48 | message.offset() as u64;
        match position.compare_exchange(NOT_ARRIVED, current, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => add(&self.arrived),
            Err(first) if first == current => add(&self.redelivered),
            Err(_) => add(&self.duplicated),
        };
        number
    }

    pub(crate) fn lost(&self) -> u64 {
        get(&self.accepted).saturating_sub(get(&self.arrived))
    }
}
