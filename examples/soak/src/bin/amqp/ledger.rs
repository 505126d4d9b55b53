//! The record of received messages: their copies, the number of deliveries, and comparison with the sent message.

use std::sync::atomic::{AtomicU64, Ordering};

use lapin::BasicProperties;
use soak::{add, get};

use crate::plan::{self, Plan};

/// The counts of a run.
pub(crate) struct Ledger {
    seed: u64,
    /// The copies of each message that have arrived, a bit for the number of its attempt.
    copies: Vec<AtomicU64>,
    /// Messages that the broker has confirmed, and those that it has returned as unroutable.
    pub(crate) accepted: AtomicU64,
    pub(crate) returned: AtomicU64,
    /// Attempts to send that failed.
    pub(crate) failed: AtomicU64,
    /// Attempts to send a message that has no space for context headers.
    pub(crate) full_sent: AtomicU64,
    arrived: AtomicU64,
    /// Second copies of a message, which were stored by attempts that failed.
    pub(crate) stored_twice: AtomicU64,
    /// Further deliveries of the same copy, and settlements that asked for one.
    pub(crate) redelivered: AtomicU64,
    pub(crate) requeued: AtomicU64,
    pub(crate) changed: AtomicU64,
    pub(crate) full_received: AtomicU64,
}

/// A message that has arrived.
pub(crate) struct Arrival {
    pub(crate) number: u64,
    /// True for the first delivery of a copy.
    pub(crate) is_first: bool,
}

impl Ledger {
    pub(crate) fn new(seed: u64, messages: u64) -> Self {
        let zero = AtomicU64::default;
        Self {
            seed,
            copies: (0..messages).map(|_| zero()).collect(),
            accepted: zero(),
            returned: zero(),
            failed: zero(),
            full_sent: zero(),
            arrived: zero(),
            stored_twice: zero(),
            redelivered: zero(),
            requeued: zero(),
            changed: zero(),
            full_received: zero(),
        }
    }

    /// Records a received message.
    pub(crate) fn arrive(&self, properties: &BasicProperties, payload: &[u8]) -> Arrival {
        let attempt: Option<u64> = properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
        let entry = plan::number(payload)
            .and_then(|number| Some((number, self.copies.get(usize::try_from(number).ok()?)?)))
            .zip(attempt);
        let Some(((number, copies), attempt)) = entry else {
            add(&self.changed);
            return Arrival { number: 0, is_first: false };
        };
        let plan = Plan::new(self.seed, number);
        if !plan.matches(properties, payload) {
            add(&self.changed);
        }
        if plan.is_full {
            add(&self.full_received);
        }
        let copy = 1 << (attempt % 64);
        let before = copies.fetch_or(copy, Ordering::SeqCst);
        let is_first = before & copy == 0;
        add(match before {
            0 => &self.arrived,
            _ if is_first => &self.stored_twice,
            _ => &self.redelivered,
        });
        Arrival { number, is_first }
    }

    /// Returns the number of all deliveries.
    pub(crate) fn received(&self) -> u64 {
        get(&self.arrived) + get(&self.stored_twice) + get(&self.redelivered)
    }

    /// Returns the number of confirmed messages that have not arrived.
    pub(crate) fn lost(&self) -> u64 {
        get(&self.accepted).saturating_sub(get(&self.arrived))
    }
}
