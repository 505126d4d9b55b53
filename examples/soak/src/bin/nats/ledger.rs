//! The record of received messages: position and number of deliveries, and comparison with the sent message.

use std::sync::atomic::{AtomicU64, Ordering};

use soak::{add, get};

use crate::plan::{self, Plan};

/// The position of a message that has not arrived.
const NOT_ARRIVED: u64 = u64::MAX;

/// The counts of a run.
pub(crate) struct Ledger {
    seed: u64,
    /// The position of each message's first delivery: its sequence in the stream, or 0 for a request.
    positions: Vec<AtomicU64>,
    /// Stored messages that the server has acknowledged.
    pub(crate) accepted: AtomicU64,
    /// Messages of both kinds that are too large.
    pub(crate) rejected: AtomicU64,
    /// Requests that were answered, and those that failed otherwise.
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Attempts to send a message that has no space for context headers.
    pub(crate) full_sent: AtomicU64,
    pub(crate) stored_arrived: AtomicU64,
    pub(crate) requests_arrived: AtomicU64,
    pub(crate) redelivered: AtomicU64,
    pub(crate) duplicated: AtomicU64,
    pub(crate) changed: AtomicU64,
    pub(crate) full_received: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(seed: u64, messages: u64) -> Self {
        let zero = AtomicU64::default;
        Self {
            seed,
            positions: (0..messages).map(|_| AtomicU64::new(NOT_ARRIVED)).collect(),
            accepted: zero(),
            rejected: zero(),
            answered: zero(),
            failed: zero(),
            full_sent: zero(),
            stored_arrived: zero(),
            requests_arrived: zero(),
            redelivered: zero(),
            duplicated: zero(),
            changed: zero(),
            full_received: zero(),
        }
    }

    /// Records a received message and returns its number. `position` is 0 for a request.
    pub(crate) fn arrive(&self, message: &async_nats::Message, position: u64) -> u64 {
        let number = plan::number(&message.payload);
        let entry =
            number.and_then(|number| Some((number, self.positions.get(usize::try_from(number).ok()?)?)));
        let Some((number, first)) = entry else {
            add(&self.changed);
            return 0;
        };
        let plan = Plan::new(self.seed, number);
        if !plan.matches(message) {
            add(&self.changed);
        }
        if plan.is_full {
            add(&self.full_received);
        }
        match first.compare_exchange(NOT_ARRIVED, position, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) if position == 0 => add(&self.requests_arrived),
            Ok(_) => add(&self.stored_arrived),
            Err(first) if first == position && position != 0 => add(&self.redelivered),
            Err(_) => add(&self.duplicated),
        };
        number
    }

    /// Returns the number of all deliveries.
    pub(crate) fn received(&self) -> u64 {
        get(&self.stored_arrived)
            + get(&self.requests_arrived)
            + get(&self.redelivered)
            + get(&self.duplicated)
    }

    /// Returns the number of acknowledged messages that have not arrived, and of answers without a request.
    pub(crate) fn lost(&self) -> u64 {
        get(&self.accepted).saturating_sub(get(&self.stored_arrived))
            + get(&self.answered).saturating_sub(get(&self.requests_arrived))
    }
}
