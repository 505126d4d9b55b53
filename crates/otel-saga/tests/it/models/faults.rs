//! The protections that a model can remove, and the budget of its faults.

/// The protection that is removed, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// The journal receives the intent of an attempt only with its outcome.
    Intent,
    /// Only steps that are known to be done are undone.
    UncertainUndone,
    /// Each attempt has another key.
    IdempotencyKeys,
    /// Participants do not remember that they were asked to undo an action that they had not seen.
    Tombstones,
    /// Appends are accepted at any cursor.
    Fencing,
    /// An interruption uses up the attempts of its step, as a failure does.
    InterruptionsApart,
    /// Interrupted attempts are repeated without end.
    InterruptionLimit,
    /// A parking takes effect while attempts are running.
    OwnerParks,
    /// An operator states that an action was refused, and does not have the participant refuse it.
    OperatorTombstone,
    /// A compaction replaces records also if the journal has changed since it was read.
    CompactionFencing,
}

/// The number of interruptions in succession after which the saga is parked.
pub(super) const INTERRUPTIONS: u32 = 2;

/// The number of faults of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// The number of faults in total.
    pub(super) faults: u8,
    pub(super) crashes: u8,
    pub(super) losses: u8,
    pub(super) refusals: u8,
    pub(super) takeovers: u8,
    pub(super) cancels: u8,
    pub(super) give_ups: u8,
    pub(super) parks: u8,
    pub(super) resolutions: u8,
    pub(super) compactions: u8,
}

impl Budget {
    /// Returns true if a fault of this kind is left.
    pub(super) fn left(&self, kind: u8) -> bool {
        self.faults > 0 && kind > 0
    }

    pub(super) fn spend(&mut self, kind: impl FnOnce(&mut Self) -> &mut u8) {
        *kind(self) -= 1;
        self.faults -= 1;
    }
}
