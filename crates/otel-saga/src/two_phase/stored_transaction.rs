//! The journal of a transaction, for operators.
//!
//! A [`SagaAdmin`](crate::SagaAdmin) reads it; only coordinators write to it.

use super::flow::{Decision, Record, State, fold};
use super::participant::Acknowledgement;
use crate::admin::TimelineEntry;
use crate::error::BoxError;
use crate::journal::{InstanceSummary, StoredInstance};

/// A transaction with its records.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredTransaction {
    /// The summary, available without the records. Its status is completed after a commit, and compensated after an
    /// abort.
    pub summary: InstanceSummary,
    /// The state that the records fold to.
    pub state: State,
    /// All records, in order.
    pub records: Vec<Record>,
}

impl StoredTransaction {
    pub(crate) fn read(loaded: StoredInstance) -> Result<Self, BoxError> {
        let records: Vec<Record> =
            loaded.records.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>()?;
        Ok(Self { summary: loaded.summary, state: fold(&records)?, records })
    }

    /// Returns all events in order, followed by the pending step of an unfinished transaction. A entry's `step` is
    /// the name of the participant that it concerns. Texts of errors and reasons are always included.
    #[must_use]
    pub fn timeline(&self) -> Vec<TimelineEntry> {
        let mut entries: Vec<TimelineEntry> = self.records.iter().map(|record| self.entry(record)).collect();
        if !self.state.ended {
            let missing: Vec<&str> =
                self.state.unacknowledged().map(|number| self.state.name_of(number)).collect();
            let event = match self.state.decision {
                None => "not decided: whoever finds it so rolls back".to_owned(),
                Some(_) if missing.is_empty() => "acknowledged by all, and about to end".to_owned(),
                Some(_) => format!("waiting for {}", missing.join(", ")),
            };
            entries.push(TimelineEntry { at: None, step: None, event });
        }
        entries
    }

    fn entry(&self, record: &Record) -> TimelineEntry {
        let because =
            |reason: &Option<String>| reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        let (at, number, event) = match record {
            Record::Started(started) => (
                Some(started.at),
                None,
                format!("started {} of {}", started.name, started.participants.join(", ")),
            ),
            Record::Decided { decision, reason, .. } => {
                (None, None, format!("decided to {}{}", decision.as_str(), because(reason)))
            }
            Record::Acknowledged { participant, acknowledgement } => {
                let event = match acknowledgement {
                    Acknowledgement::Done => "acknowledged".to_owned(),
                    // A single participant commits in one phase, which is not a heuristic outcome.
                    Acknowledgement::Committed if self.state.is_single() => "committed".to_owned(),
                    other => format!("decided on its own: {}", other.heuristic().unwrap_or_default()),
                };
                (None, Some(*participant), event)
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
        TimelineEntry { at, step: number.map(|number| self.state.name_of(number).to_owned()), event }
    }
}
