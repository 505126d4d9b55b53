//! `next`: the commands for a transaction in a given state.
//!
//! Follows `docs/sagas.md`, "Presumed abort": votes are known only to the coordinator that asked for them, because
//! they are in no journal; one that takes over after a crash has none.

use super::record::Decision;
use super::state::State;
use crate::two_phase::Answer;

/// A participant's vote as the coordinator counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ballot {
    /// The participant is prepared. A single participant has committed.
    Yes,
    /// The participant has nothing to commit.
    ReadOnly,
    /// The participant has rolled back.
    No,
    /// The call failed or timed out: the participant may be prepared, or may still prepare.
    Unknown,
}

impl Ballot {
    /// The vote as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::ReadOnly => "read_only",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

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
        tell: Vec<u16>,
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

/// Returns the next commands. `ballots` are the votes by participant; `None` for a coordinator that took the
/// transaction over and has no votes.
#[must_use]
pub fn next(state: &State, ballots: Option<&[Option<Ballot>]>) -> Vec<Command> {
    if state.ended {
        return Vec::new();
    }
    match (state.decision, ballots) {
        (Some(decision), _) => tell(state, decision, &state.tell),
        (None, None) => roll_back(state, &state.tell),
        (None, Some(ballots)) => vote(state, ballots),
    }
}

/// Asks for the missing votes. With all votes, decides, rolls back or finishes.
fn vote(state: &State, ballots: &[Option<Ballot>]) -> Vec<Command> {
    let ballots =
        || state.tell.iter().map(|number| (*number, ballots.get(usize::from(*number)).copied().flatten()));
    let missing: Vec<Command> = ballots()
        .filter(|(_, ballot)| ballot.is_none())
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
    let of = |wanted: &[Ballot]| -> Vec<u16> {
        let of = ballots().filter(|(_, ballot)| ballot.is_some_and(|ballot| wanted.contains(&ballot)));
        of.map(|(number, _)| number).collect()
    };
    if !of(&[Ballot::No, Ballot::Unknown]).is_empty() {
        return roll_back(state, &of(&[Ballot::Yes, Ballot::Unknown]));
    }
    let prepared = of(&[Ballot::Yes]);
    if prepared.is_empty() || state.is_single() {
        return vec![Command::Finish(Decision::Commit)];
    }
    vec![Command::Decide { tell: prepared }]
}

/// Rolls back the participants that may be prepared. A single participant may have committed, which is then the
/// decision.
fn roll_back(state: &State, told: &[u16]) -> Vec<Command> {
    if state.is_single() && state.answers.first() == Some(&Some(Answer::Committed)) {
        return vec![Command::Finish(Decision::Commit)];
    }
    tell(state, Decision::Abort, told)
}

fn tell(state: &State, decision: Decision, told: &[u16]) -> Vec<Command> {
    let open = told.iter().filter(|number| matches!(state.answers.get(usize::from(**number)), Some(None)));
    let commands: Vec<Command> = open
        .map(|participant| match decision {
            Decision::Commit => Command::Commit { participant: *participant },
            Decision::Abort => Command::Rollback { participant: *participant },
        })
        .collect();
    if commands.is_empty() { vec![Command::Finish(decision)] } else { commands }
}

#[cfg(test)]
mod tests;
