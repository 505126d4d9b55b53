//! Appending to a transaction's journal until there is an answer.
//!
//! Follows `docs/sagas.md`, "Appends": an append whose answer was lost is unknown, so the journal is loaded and
//! compared.

use std::time::Duration;

use super::Inner;
use crate::error::BoxError;
use crate::journal::{AppendError, Cursor, Loaded, Then};
use crate::two_phase::flow::{Record, State, fold};
use crate::two_phase::telemetry::alert;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Inner {
    /// Appends; none if the transaction is another coordinator's by now. While the journal is away it waits: what was
    /// decided, or not, is what the journal says, and without its answer nobody may be told anything.
    pub(super) async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: &[Record],
        then: Then,
    ) -> Result<Option<Cursor>, BoxError> {
        let encoded: Vec<Vec<u8>> = records.iter().map(Record::encode).collect::<Result<_, _>>()?;
        let mut wait = FIRST_WAIT;
        loop {
            match self.journal.append(id, at, encoded.clone(), then).await {
                Ok(cursor) => return Ok(Some(cursor)),
                Err(AppendError::Fenced) => {}
                Err(AppendError::Journal(error)) => {
                    alert(id, "", "the journal did not take a record", &error.to_string());
                }
            }
            // Fenced, or nobody knows: what is there tells.
            match self.journal.load(id).await {
                Ok(None) => return Ok(None),
                Ok(Some(loaded)) => {
                    if is_behind(&loaded, at, &encoded) {
                        return Ok(Some(loaded.header.cursor()));
                    }
                    if loaded.header.cursor() != at {
                        return Ok(None);
                    }
                }
                Err(error) => alert(id, "", "the journal cannot be read", &error.to_string()),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Whether these records are in the journal just behind this cursor: the answer was lost, not the records.
fn is_behind(loaded: &Loaded, at: Cursor, encoded: &[Vec<u8>]) -> bool {
    let head = usize::try_from(at.head).unwrap_or(usize::MAX);
    !encoded.is_empty()
        && loaded.header.epoch == at.epoch
        && loaded.records.get(head..).is_some_and(|behind| behind == encoded)
}

/// The transaction that these records are of.
pub(super) fn read(loaded: &Loaded) -> Result<State, BoxError> {
    let records: Vec<Record> =
        loaded.records.iter().map(|one| Record::decode(one)).collect::<Result<_, _>>()?;
    Ok(fold(&records)?)
}
