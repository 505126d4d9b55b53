//! Appends to an instance's journal, repeated until the outcome is known.
//!
//! Follows `docs/sagas.md`, "Appends": an append whose answer was lost is unknown, so the journal is loaded and
//! compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Inner;
use crate::admin::read;
use crate::error::BoxError;
use crate::flow::{Record, State};
use crate::journal::{AfterAppend, AppendError, Cursor, StoredInstance};
use crate::telemetry::alert;

/// The result of an append.
pub(super) enum Appended {
    /// The records are in the journal.
    At(Cursor),
    /// Nothing was appended, because a request was appended first; this is the new state.
    Changed(Arc<State>, Cursor),
    /// Another worker owns the instance.
    Lost,
    /// The journal of the instance cannot be read.
    Unreadable(BoxError),
}

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl<S: Send + Sync + 'static> Inner<S> {
    /// Appends records. Retries while the journal is unavailable, because the instance cannot continue without it: an
    /// outcome must not be lost, and an attempt must not start before its intent is durable.
    pub(super) async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: &[Record],
        after_append: AfterAppend,
    ) -> Result<Appended, BoxError> {
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            match self.journal.append(id, at, encode(records)?, after_append).await {
                Ok(cursor) => {
                    self.telemetry.appended(began.elapsed(), None);
                    return Ok(Appended::At(cursor));
                }
                Err(AppendError::Fenced) => self.telemetry.appended(began.elapsed(), Some("fenced")),
                Err(AppendError::Journal(error)) => {
                    self.telemetry.appended(began.elapsed(), Some("journal"));
                    alert(id, "", "the journal did not take a record", &error);
                }
            }
            // Fenced or unknown: reload the journal to find out which.
            match self.journal.load(id).await {
                Ok(None) => return Ok(Appended::Lost),
                Ok(Some(loaded)) => {
                    if is_behind(&loaded, at, &encode(records)?) {
                        return Ok(Appended::At(loaded.summary.cursor()));
                    }
                    if loaded.summary.epoch != at.epoch {
                        return Ok(Appended::Lost);
                    }
                    if loaded.summary.head != at.head {
                        return Ok(match read(&loaded) {
                            Ok(state) => Appended::Changed(Arc::new(state), loaded.summary.cursor()),
                            Err(error) => Appended::Unreadable(error),
                        });
                    }
                }
                Err(error) => alert(id, "", "the journal cannot be read", &error),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Replaces the last records by these, which lead to the same state, and returns the new cursor, or the old one if
    /// the instance has changed. Retries while the outcome is unknown, because this worker would be fenced by its own
    /// replacement.
    pub(super) async fn replace(
        &self,
        id: &str,
        at: Cursor,
        from: u64,
        records: &[Record],
    ) -> Result<Cursor, BoxError> {
        let encoded = encode(records)?;
        let after = Cursor::new(from + encoded.len() as u64, at.epoch + 1);
        let mut wait = FIRST_WAIT;
        loop {
            match self.journal.replace(id, at, from, encoded.clone()).await {
                Ok(cursor) => return Ok(cursor),
                Err(AppendError::Fenced) => {}
                Err(AppendError::Journal(error)) => {
                    alert(id, "", "the journal did not replace records", &error);
                }
            }
            match self.journal.load(id).await {
                Ok(Some(loaded)) if was_replaced(&loaded, from, after, &encoded) => return Ok(after),
                Ok(Some(loaded)) if loaded.summary.cursor() == at => {}
                Ok(_) => return Ok(at),
                Err(error) => alert(id, "", "the journal cannot be read", &error),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Encodes the records for one try; further tries are rare.
fn encode(records: &[Record]) -> Result<Vec<Vec<u8>>, serde_json::Error> {
    records.iter().map(Record::encode).collect()
}

/// Returns true if these records are the ones before the cursor `after`: the replacement succeeded and its reply was lost.
/// A request can have been appended since then.
fn was_replaced(loaded: &StoredInstance, from: u64, after: Cursor, encoded: &[Vec<u8>]) -> bool {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    loaded.summary.epoch == after.epoch
        && loaded.records.get(from..).is_some_and(|behind| behind.starts_with(encoded))
}

/// Returns true if these records follow the cursor in the journal: the append succeeded and its reply was lost.
fn is_behind(loaded: &StoredInstance, at: Cursor, encoded: &[Vec<u8>]) -> bool {
    let head = usize::try_from(at.head).unwrap_or(usize::MAX);
    !encoded.is_empty()
        && loaded.summary.epoch == at.epoch
        && loaded.records.get(head..).is_some_and(|behind| behind == encoded)
}
