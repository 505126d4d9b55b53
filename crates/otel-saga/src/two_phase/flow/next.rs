//! `next`: what is to be done for a transaction in this state.
//!
//! Follows `docs/sagas.md`, "Presumed abort": votes are known only to the coordinator that asked for them, because they
//! are in no journal; one that takes over after a crash has none.

use super::record::Decision;
use super::state::State;
use crate::two_phase::Answer;

/// What a coordinator counts a participant's vote as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ballot {
    /// It is prepared. Where it is the only one: it is committed.
    Yes,
    /// It is not concerned.
    ReadOnly,
    /// It has rolled back.
    No,
    /// It did not answer in time, or with an error: it may be prepared, or may yet be.
    Unknown,
}

impl Ballot {
    /// In one word.
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

/// What the coordinator is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Ask this participant for its vote.
    Prepare {
        /// The participant's number.
        participant: u16,
    },
    /// Let the only participant commit.
    CommitInOnePhase {
        /// The participant's number.
        participant: u16,
    },
    /// Journal the decision to commit, before any participant is told.
    Decide {
        /// Who has to be told.
        tell: Vec<u16>,
    },
    /// Tell this participant to commit.
    Commit {
        /// The participant's number.
        participant: u16,
    },
    /// Tell this participant to roll back.
    Rollback {
        /// The participant's number.
        participant: u16,
    },
    /// Nothing is left to do.
    Finish(Decision),
}

/// What is to be done next, by a coordinator that has these ballots, or by one that goes on with another's transaction and
/// has none.
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

/// Asks for the votes that are missing, and counts them.
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

/// Who may be prepared is told to roll back. The only participant of a transaction may have committed: then that is what
/// was decided.
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
