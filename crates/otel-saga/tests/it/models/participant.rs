//! The duties of a participant, without which no orchestrator can be correct: it remembers keys, and the actions that
//! it was asked to undo.

use std::collections::{BTreeMap, BTreeSet};

use otel_saga::flow::Phase;

/// The effects of one step at its participant, by key.
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

    /// Carries out the action once per key; the answer is the same each time.
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

    /// Returns true if a call would change the state.
    pub(super) fn would_notice(&self, phase: Phase, key: u32) -> bool {
        let mut after = self.clone();
        match phase {
            Phase::Action => _ = after.act(key, true),
            _ => after.undo(key, true),
        }
        after != *self
    }

    /// Refuses the action from now on.
    pub(super) fn block(&mut self, key: u32) {
        self.blocked.insert(key);
    }

    pub(super) fn undo(&mut self, key: u32, tombstones: bool) {
        self.asked_to_undo = true;
        self.standing.remove(&key);
        // A participant that has seen the action recognizes its key without a tombstone.
        if tombstones || self.answers.contains_key(&key) {
            self.blocked.insert(key);
        }
    }
}
