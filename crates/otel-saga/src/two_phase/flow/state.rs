//! `fold`: computes the state of a transaction from its records.

use super::record::{Decision, Record, Started};
use crate::two_phase::Acknowledgement;

/// The state of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct State {
    /// The first record.
    pub started: Started,
    /// The decision; `None` while the transaction is undecided.
    pub decision: Option<Decision>,
    /// Numbers of the participants to call with the decision; all of them while it is undecided.
    pub recipients: Vec<u16>,
    /// The acknowledgements of the participants, by number.
    pub acknowledgements: Vec<Option<Acknowledgement>>,
    /// The time of the first failed call of an unacknowledged participant, in milliseconds since the Unix epoch, and
    /// its error.
    pub waiting: Option<(u64, String)>,
    /// The reason of an abort, if it is known.
    pub reason: Option<String>,
    /// True if the transaction has ended.
    pub ended: bool,
}

/// Records that do not form one transaction.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The first record does not start a transaction, or a later one does.
    #[error("record {index} is out of place: a transaction begins with one `started`")]
    OutOfPlace {
        /// Position of the record, from 0.
        index: usize,
    },
    /// A record refers to a participant that the transaction does not have.
    #[error("record {index} speaks of participant {participant}, which the transaction does not have")]
    NoSuchParticipant {
        /// Position of the record, from 0.
        index: usize,
        /// Number of the participant.
        participant: u16,
    },
    /// A record contradicts the decision of an earlier one.
    #[error("record {index} decides otherwise than an earlier one")]
    DecidedOtherwise {
        /// Position of the record, from 0.
        index: usize,
    },
}

/// Computes the state of a transaction from its records.
///
/// # Errors
///
/// Returns an error if the records do not form one transaction.
pub fn fold<'r>(records: impl IntoIterator<Item = &'r Record>) -> Result<State, FoldError> {
    let mut records = records.into_iter().enumerate();
    let Some((_, Record::Started(started))) = records.next() else {
        return Err(FoldError::OutOfPlace { index: 0 });
    };
    let mut state = State {
        recipients: (0_u16..).zip(&started.participants).map(|(number, _)| number).collect(),
        acknowledgements: vec![None; started.participants.len()],
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
    /// Returns the numbers of the participants that have to be called and have not acknowledged.
    pub fn unacknowledged(&self) -> impl Iterator<Item = u16> {
        let recipients = if self.ended { &[][..] } else { &*self.recipients };
        recipients
            .iter()
            .copied()
            .filter(|number| matches!(self.acknowledgements.get(usize::from(*number)), Some(None)))
    }

    /// Returns the participants with a heuristic outcome, by number. A single participant that committed is not one
    /// of them, because committing in one phase is its own decision.
    pub fn heuristics(&self) -> impl Iterator<Item = (u16, Acknowledgement)> {
        let single = self.is_single();
        let answered = (0_u16..)
            .zip(&self.acknowledgements)
            .filter_map(|(number, acknowledgement)| Some((number, (*acknowledgement)?)));
        answered.filter(move |(_, acknowledgement)| {
            *acknowledgement != Acknowledgement::Done
                && !(single && *acknowledgement == Acknowledgement::Committed)
        })
    }

    /// Returns true if the transaction has a single participant, which commits in one phase.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.started.participants.len() == 1
    }

    /// Returns the name of the participant with this number; empty if it does not exist.
    #[must_use]
    pub fn name_of(&self, participant: u16) -> &str {
        self.started.participants.get(usize::from(participant)).map_or("", |name| name)
    }

    /// Applies one more record; `index` is its position.
    pub(crate) fn apply(&mut self, index: usize, record: &Record) -> Result<(), FoldError> {
        match record {
            Record::Started(_) => return Err(FoldError::OutOfPlace { index }),
            Record::Decided { decision, recipients, reason } => {
                self.decide(index, *decision)?;
                if let Some(participant) =
                    recipients.iter().find(|one| usize::from(**one) >= self.acknowledgements.len())
                {
                    return Err(FoldError::NoSuchParticipant { index, participant: *participant });
                }
                self.recipients.clone_from(recipients);
                self.reason.clone_from(reason);
            }
            Record::Acknowledged { participant, acknowledgement } => {
                let known = self.acknowledgements.get_mut(usize::from(*participant));
                let missing = FoldError::NoSuchParticipant { index, participant: *participant };
                *known.ok_or(missing)? = Some(*acknowledgement);
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
