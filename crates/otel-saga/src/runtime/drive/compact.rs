//! Compacts the journal of an instance whose attempts fail again and again.
//!
//! Follows `docs/sagas.md`, "Compaction".

use super::InstanceDriver;
use crate::error::BoxError;
use crate::flow::{Record, compact};

/// A step's attempts are compacted after each of this many failures. Each compaction reads the complete journal of the
/// instance, so that it has to be rare.
pub(super) const COMPACT_EVERY: u32 = 32;

impl<S: Send + Sync + 'static> InstanceDriver<S> {
    /// Removes repeated attempts from the journal. The state stays the same. Does nothing if the journal is unavailable
    /// or the instance has changed, which the next append finds out.
    pub(super) async fn compact(&mut self) -> Result<(), BoxError> {
        let Ok(Some(loaded)) = self.inner.journal.load(&self.id).await else { return Ok(()) };
        if loaded.summary.cursor() != self.cursor {
            return Ok(());
        }
        let records: Vec<Record> =
            loaded.records.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>()?;
        if let Some(compaction) = compact(&records) {
            let from = compaction.from as u64;
            self.cursor = self.inner.replace(&self.id, self.cursor, from, &compaction.records).await?;
        }
        Ok(())
    }
}
