//! What a participant has to do so that no orchestrator can go wrong: remember keys, and what it was asked to undo.

use std::collections::{BTreeMap, BTreeSet};

use otel_saga::flow::Phase;

/// What the participant of one step has done, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Participant {
    pub(super) answers: BTreeMap<u32, bool>,
    standing: BTreeSet<u32>,
    blocked: BTreeSet<u32>,
    pub(super) asked_to_undo: bool,
}

impl Participant {
    pub(super) fn effects(&self) -> usize {
        self.standing.len()
    }

    /// Does it, once a key; the answer is the same each time.
    pub(super) fn act(&mut self, key: u32, accepts: bool) -> bool {
        if self.blocked.contains(&key) {
            return false;
        }
        let answer = *self.answers.entry(key).or_insert(accepts);
        if answer {
            self.standing.insert(key);
        }
        answer
    }

    /// Whether a call changes anything here.
    pub(super) fn would_notice(&self, phase: Phase, key: u32) -> bool {
        let mut after = self.clone();
        match phase {
            Phase::Action => _ = after.act(key, true),
            _ => after.undo(key, true),
        }
        after != *self
    }

    pub(super) fn undo(&mut self, key: u32, tombstones: bool) {
        self.asked_to_undo = true;
        self.standing.remove(&key);
        // Whoever has done it before knows it again without a tombstone.
        if tombstones || self.answers.contains_key(&key) {
            self.blocked.insert(key);
        }
    }
}
