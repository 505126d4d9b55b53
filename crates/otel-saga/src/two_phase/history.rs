//! What a coordinator's journal has of a transaction, for people to read.
//!
//! An [`Operator`](crate::Operator) reads it; coordinators alone write to it.

use super::flow::{Decision, Record, State, fold};
use super::participant::Answer;
use crate::error::BoxError;
use crate::journal::{Header, Loaded};
use crate::operator::Moment;

/// A transaction as the journal has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct History {
    /// What is known without its records. Its status is completed where all were told to commit, and compensated where all
    /// were told to roll back.
    pub header: Header,
    /// What its records amount to.
    pub state: State,
    /// Everything that happened, in order.
    pub records: Vec<Record>,
}

impl History {
    pub(crate) fn read(loaded: Loaded) -> Result<Self, BoxError> {
        let records: Vec<Record> =
            loaded.records.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>()?;
        Ok(Self { header: loaded.header, state: fold(&records)?, records })
    }

    /// Everything that happened, in order and in words, and at last what is still to come. A moment's step is the participant
    /// that it happened to. Texts of errors and reasons are there always.
    #[must_use]
    pub fn timeline(&self) -> Vec<Moment> {
        let mut told: Vec<Moment> = self.records.iter().map(|record| self.moment(record)).collect();
        if !self.state.ended {
            let missing: Vec<&str> =
                self.state.unacknowledged().map(|number| self.state.name_of(number)).collect();
            let what = match self.state.decision {
                None => "not decided: whoever finds it so rolls back".to_owned(),
                Some(_) if missing.is_empty() => "acknowledged by all, and about to end".to_owned(),
                Some(_) => format!("waiting for {}", missing.join(", ")),
            };
            told.push(Moment { at: None, step: None, what });
        }
        told
    }

    fn moment(&self, record: &Record) -> Moment {
        let because =
            |reason: &Option<String>| reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        let (at, number, what) = match record {
            Record::Started(started) => (
                Some(started.at),
                None,
                format!("started {} of {}", started.name, started.participants.join(", ")),
            ),
            Record::Decided { decision, reason, .. } => {
                (None, None, format!("decided to {}{}", decision.as_str(), because(reason)))
            }
            Record::Acknowledged { participant, answer } => {
                let what = match answer {
                    Answer::Done => "acknowledged".to_owned(),
                    // By itself is how a single one commits.
                    Answer::Committed if self.state.is_single() => "committed".to_owned(),
                    other => format!("decided on its own: {}", other.heuristic().unwrap_or_default()),
                };
                (None, Some(*participant), what)
            }
            Record::Waiting { at, error } => (Some(*at), None, format!("waiting, asked again: {error}")),
            Record::Ended { decision, reason } => {
                let end = match decision {
                    Decision::Commit => "committed",
                    Decision::Abort => "aborted",
                };
                (None, None, format!("{end}{}", because(reason)))
            }
        };
        Moment { at, step: number.map(|number| self.state.name_of(number).to_owned()), what }
    }
}
