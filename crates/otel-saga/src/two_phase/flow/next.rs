//! `next`: the commands for a transaction in a given state.
//!
//! Follows `docs/sagas.md`, "Presumed abort": votes are known only to the coordinator that asked for them, because
//! they are in no journal; one that takes over after a crash has none.

use super::record::Decision;
use super::state::State;
use crate::two_phase::{Acknowledgement, Vote};

/// A command to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Ask the participant for its vote.
    Prepare {
        /// Number of the participant.
        participant: u16,
    },
    /// Let the only participant commit in one phase.
    CommitInOnePhase {
        /// Number of the participant.
        participant: u16,
    },
    /// Journal the decision to commit, before the first commit is sent.
    Decide {
        /// Numbers of the participants that have to commit.
        recipients: Vec<u16>,
    },
    /// Send a commit to the participant.
    Commit {
        /// Number of the participant.
        participant: u16,
    },
    /// Send a rollback to the participant.
    Rollback {
        /// Number of the participant.
        participant: u16,
    },
    /// End the transaction: no call is left.
    Finish(Decision),
}

/// Returns the next commands. `votes` are those of the participants, by number; `None` for a coordinator that took the
/// transaction over and has no votes.
#[must_use]
pub fn next(state: &State, votes: Option<&[Option<Vote>]>) -> Vec<Command> {
    if state.ended {
        return Vec::new();
    }
    match (state.decision, votes) {
        (Some(decision), _) => carry_out(state, decision, &state.recipients),
        (None, None) => roll_back(state, &state.recipients),
        (None, Some(votes)) => vote(state, votes),
    }
}

/// Asks for the missing votes. With all votes, decides, rolls back or finishes.
fn vote(state: &State, votes: &[Option<Vote>]) -> Vec<Command> {
    let votes = || {
        let vote = |number: u16| votes.get(usize::from(number)).and_then(Option::as_ref);
        state.recipients.iter().map(move |number| (*number, vote(*number)))
    };
    let missing: Vec<Command> = votes()
        .filter(|(_, vote)| vote.is_none())
        .map(|(participant, _)| {
            if state.is_single() {
                Command::CommitInOnePhase { participant }
            } else {
                Command::Prepare { participant }
            }
        })
        .collect();
    if !missing.is_empty() {
        return missing;
    }
    let with = |is: fn(&Vote) -> bool| -> Vec<u16> {
        votes().filter(|(_, vote)| vote.is_some_and(is)).map(|(number, _)| number).collect()
    };
    if !with(|vote| matches!(vote, Vote::No(_) | Vote::Unknown(_))).is_empty() {
        return roll_back(state, &with(|vote| matches!(vote, Vote::Yes | Vote::Unknown(_))));
    }
    let prepared = with(|vote| *vote == Vote::Yes);
    if prepared.is_empty() || state.is_single() {
        return vec![Command::Finish(Decision::Commit)];
    }
    vec![Command::Decide { recipients: prepared }]
}

/// Rolls back the participants that may be prepared. A single participant may have committed, which is then the
/// decision.
fn roll_back(state: &State, recipients: &[u16]) -> Vec<Command> {
    if state.is_single() && state.acknowledgements.first() == Some(&Some(Acknowledgement::Committed)) {
        return vec![Command::Finish(Decision::Commit)];
    }
    carry_out(state, Decision::Abort, recipients)
}

/// Calls the participants that have not acknowledged the decision, or finishes.
fn carry_out(state: &State, decision: Decision, recipients: &[u16]) -> Vec<Command> {
    let is_open = |number: u16| matches!(state.acknowledgements.get(usize::from(number)), Some(None));
    let commands: Vec<Command> = recipients
        .iter()
        .copied()
        .filter(|number| is_open(*number))
        .map(|participant| match decision {
            Decision::Commit => Command::Commit { participant },
            Decision::Abort => Command::Rollback { participant },
        })
        .collect();
    if commands.is_empty() { vec![Command::Finish(decision)] } else { commands }
}

#[cfg(test)]
mod tests;
