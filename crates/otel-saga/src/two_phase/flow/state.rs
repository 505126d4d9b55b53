//! `fold`: what the records of a transaction amount to.

use super::record::{Decision, Record, Started};
use crate::two_phase::Answer;

/// What is known of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct State {
    /// How it began.
    pub started: Started,
    /// How it was decided, if it was.
    pub decision: Option<Decision>,
    /// Who has to be told, by number. Everybody, as long as it is not decided.
    pub tell: Vec<u16>,
    /// What each participant has answered, by number.
    pub answers: Vec<Option<Answer>>,
    /// Since when somebody has not answered, in milliseconds since 1970, and what was seen then.
    pub waiting: Option<(u64, String)>,
    /// Why it was aborted, if that is known.
    pub reason: Option<String>,
    /// Whether there is nothing left to do.
    pub ended: bool,
}

/// Records that are those of no transaction.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The first record does not begin a transaction, or a later one does.
    #[error("record {index} is out of place: a transaction begins with one `started`")]
    OutOfPlace {
        /// The record's place, from 0.
        index: usize,
    },
    /// A record speaks of a participant that the transaction does not have.
    #[error("record {index} speaks of participant {participant}, which the transaction does not have")]
    NoSuchParticipant {
        /// The record's place, from 0.
        index: usize,
        /// The participant's number.
        participant: u16,
    },
    /// A record decides otherwise than an earlier one.
    #[error("record {index} decides otherwise than an earlier one")]
    DecidedOtherwise {
        /// The record's place, from 0.
        index: usize,
    },
}

/// What these records amount to.
///
/// # Errors
///
/// If they are not those of one transaction.
pub fn fold<'r>(records: impl IntoIterator<Item = &'r Record>) -> Result<State, FoldError> {
    let mut records = records.into_iter().enumerate();
    let Some((_, Record::Started(started))) = records.next() else {
        return Err(FoldError::OutOfPlace { index: 0 });
    };
    let mut state = State {
        tell: (0_u16..).zip(&started.participants).map(|(number, _)| number).collect(),
        answers: vec![None; started.participants.len()],
        started: started.clone(),
        decision: None,
        waiting: None,
        reason: None,
        ended: false,
    };
    for (index, record) in records {
        state.apply(index, record)?;
    }
    Ok(state)
}

impl State {
    /// Who has to be told and has not acknowledged, by number.
    pub fn unacknowledged(&self) -> impl Iterator<Item = u16> {
        let told = if self.ended { &[][..] } else { &*self.tell };
        told.iter().copied().filter(|number| matches!(self.answers.get(usize::from(*number)), Some(None)))
    }

    /// The participants that decided on their own, by number, and what they did. The only participant of a transaction
    /// commits by itself in one phase, which is none.
    pub fn heuristics(&self) -> impl Iterator<Item = (u16, Answer)> {
        let single = self.is_single();
        let answered = (0_u16..).zip(&self.answers).filter_map(|(number, answer)| Some((number, (*answer)?)));
        answered
            .filter(move |(_, answer)| *answer != Answer::Done && !(single && *answer == Answer::Committed))
    }

    /// Whether there is one participant only, which commits in one phase.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.started.participants.len() == 1
    }

    /// The participant's name.
    #[must_use]
    pub fn name_of(&self, participant: u16) -> &str {
        self.started.participants.get(usize::from(participant)).map_or("", |name| name)
    }

    /// Applies one more record, the one at this place.
    pub(crate) fn apply(&mut self, index: usize, record: &Record) -> Result<(), FoldError> {
        match record {
            Record::Started(_) => return Err(FoldError::OutOfPlace { index }),
            Record::Decided { decision, tell, reason } => {
                self.decide(index, *decision)?;
                if let Some(participant) = tell.iter().find(|one| usize::from(**one) >= self.answers.len()) {
                    return Err(FoldError::NoSuchParticipant { index, participant: *participant });
                }
                self.tell.clone_from(tell);
                self.reason.clone_from(reason);
            }
            Record::Acknowledged { participant, answer } => {
                let known = self.answers.get_mut(usize::from(*participant));
                let missing = FoldError::NoSuchParticipant { index, participant: *participant };
                *known.ok_or(missing)? = Some(*answer);
            }
            Record::Waiting { at, error } => self.waiting = Some((*at, error.clone())),
            Record::Ended { decision, reason } => {
                self.decide(index, *decision)?;
                if reason.is_some() {
                    self.reason.clone_from(reason);
                }
                self.ended = true;
            }
        }
        Ok(())
    }

    fn decide(&mut self, index: usize, decision: Decision) -> Result<(), FoldError> {
        if self.decision.is_some_and(|earlier| earlier != decision) {
            return Err(FoldError::DecidedOtherwise { index });
        }
        self.decision = Some(decision);
        Ok(())
    }
}
