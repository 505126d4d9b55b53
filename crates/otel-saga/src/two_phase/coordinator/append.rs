//! Appends to a transaction's journal, repeated until the outcome is known.
//!
//! Follows `docs/sagas.md`, "Appends": an append whose answer was lost is unknown, so the journal is loaded and
//! compared.

use std::time::Duration;

use super::Inner;
use crate::error::BoxError;
use crate::journal::{AfterAppend, AppendError, Cursor, StoredInstance};
use crate::two_phase::flow::{Record, State, fold};
use crate::two_phase::telemetry::alert;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Inner {
    /// Appends records. Returns `None` if another coordinator owns the transaction. Retries while the journal is
    /// unavailable, because the decision is what the journal holds, and no participant may be called before it is
    /// known.
    pub(super) async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: &[Record],
        after_append: AfterAppend,
    ) -> Result<Option<Cursor>, BoxError> {
        let encoded: Vec<Vec<u8>> = records.iter().map(Record::encode).collect::<Result<_, _>>()?;
        let mut wait = FIRST_WAIT;
        loop {
            match self.journal.append(id, at, encoded.clone(), after_append).await {
                Ok(cursor) => return Ok(Some(cursor)),
                Err(AppendError::Fenced) => {}
                Err(AppendError::Journal(error)) => {
                    alert(id, "", "the journal did not take a record", &error);
                }
            }
            // Fenced or unknown: reload the journal to find out which.
            match self.journal.load(id).await {
                Ok(None) => return Ok(None),
                Ok(Some(loaded)) => {
                    if is_behind(&loaded, at, &encoded) {
                        return Ok(Some(loaded.summary.cursor()));
                    }
                    if loaded.summary.cursor() != at {
                        return Ok(None);
                    }
                }
                Err(error) => alert(id, "", "the journal cannot be read", &error),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Returns true if these records follow the cursor in the journal: the append succeeded and its reply was lost.
fn is_behind(loaded: &StoredInstance, at: Cursor, encoded: &[Vec<u8>]) -> bool {
    let head = usize::try_from(at.head).unwrap_or(usize::MAX);
    !encoded.is_empty()
        && loaded.summary.epoch == at.epoch
        && loaded.records.get(head..).is_some_and(|behind| behind == encoded)
}

/// Computes the state from the records.
pub(super) fn read(loaded: &StoredInstance) -> Result<State, BoxError> {
    let records: Vec<Record> =
        loaded.records.iter().map(|one| Record::decode(one)).collect::<Result<_, _>>()?;
    Ok(fold(&records)?)
}
