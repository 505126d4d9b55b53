//! Appending to an instance's journal until there is an answer.
//!
//! Follows `docs/sagas.md`, "Appends": an append whose answer was lost is unknown, so the journal is loaded and
//! compared.

use std::time::{Duration, Instant};

use super::Inner;
use crate::error::{BoxError, with_causes};
use crate::flow::{Record, State};
use crate::journal::{AppendError, Cursor, Loaded, Then};
use crate::operator::read;
use crate::telemetry::alert;

/// What an append came to.
pub(super) enum Appended {
    /// It is in the journal.
    At(Cursor),
    /// Somebody has asked for something meanwhile; this is the instance now, and nothing was appended.
    Moved(State, Cursor),
    /// Another worker has the instance.
    Lost,
    /// What is there cannot be read.
    Unreadable(BoxError),
}

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl<S: Send + Sync + 'static> Inner<S> {
    /// Appends. While the journal is away it waits, for nothing else can be done: what was done is not forgotten, and
    /// what is to be done may not begin.
    pub(super) async fn append(
        &self,
        id: &str,
        at: Cursor,
        records: &[Record],
        then: Then,
    ) -> Result<Appended, BoxError> {
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            match self.journal.append(id, at, encode(records)?, then).await {
                Ok(cursor) => {
                    self.telemetry.appended(began.elapsed(), None);
                    return Ok(Appended::At(cursor));
                }
                Err(AppendError::Fenced) => self.telemetry.appended(began.elapsed(), Some("fenced")),
                Err(AppendError::Journal(error)) => {
                    self.telemetry.appended(began.elapsed(), Some("journal"));
                    alert(id, "", "the journal did not take a record", &with_causes(&error));
                }
            }
            // Fenced, or nobody knows: what is there tells.
            match self.journal.load(id).await {
                Ok(None) => return Ok(Appended::Lost),
                Ok(Some(loaded)) => {
                    if is_behind(&loaded, at, &encode(records)?) {
                        return Ok(Appended::At(loaded.header.cursor()));
                    }
                    if loaded.header.epoch != at.epoch {
                        return Ok(Appended::Lost);
                    }
                    if loaded.header.head != at.head {
                        return Ok(match read(&loaded) {
                            Ok(state) => Appended::Moved(state, loaded.header.cursor()),
                            Err(error) => Appended::Unreadable(error),
                        });
                    }
                }
                Err(error) => alert(id, "", "the journal cannot be read", &with_causes(&error)),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Again for each try: there is hardly ever a second one.
fn encode(records: &[Record]) -> Result<Vec<Vec<u8>>, serde_json::Error> {
    records.iter().map(Record::encode).collect()
}

/// Whether these records are in the journal just behind this cursor: the answer was lost, not the records.
fn is_behind(loaded: &Loaded, at: Cursor, encoded: &[Vec<u8>]) -> bool {
    let head = usize::try_from(at.head).unwrap_or(usize::MAX);
    !encoded.is_empty()
        && loaded.header.epoch == at.epoch
        && loaded.records.get(head..).is_some_and(|behind| behind == encoded)
}
