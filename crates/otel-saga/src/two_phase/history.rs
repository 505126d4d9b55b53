//! The journal of a transaction, for operators.
//!
//! An [`Operator`](crate::Operator) reads it; only coordinators write to it.

use super::flow::{Decision, Record, State, fold};
use super::participant::Answer;
use crate::error::BoxError;
use crate::journal::{Header, Loaded};
use crate::operator::Moment;

/// A transaction with its records.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct History {
    /// The header, available without the records. Its status is completed after a commit, and compensated after an
    /// abort.
    pub header: Header,
    /// The state that the records fold to.
    pub state: State,
    /// All records, in order.
    pub records: Vec<Record>,
}

impl History {
    pub(crate) fn read(loaded: Loaded) -> Result<Self, BoxError> {
        let records: Vec<Record> =
            loaded.records.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>()?;
        Ok(Self { header: loaded.header, state: fold(&records)?, records })
    }

    /// Returns all events in order, followed by the pending step of an unfinished transaction. A moment's `step` is
    /// the name of the participant that it concerns. Texts of errors and reasons are always included.
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
                    // A single participant commits in one phase, which is not a heuristic outcome.
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
