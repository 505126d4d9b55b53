//! Inspection and control of sagas over a journal, without a runtime and without definitions.
//!
//! Follows `docs/sagas.md`, "Requests": a request is a record like any other; the worker that owns the instance reads
//! it when its own append is fenced, or at once if it is in the same process.

mod timeline;

use std::sync::Arc;

pub use self::timeline::{Moment, utc};
use crate::error::{BoxError, InstanceError};
use crate::flow::{Record, State, StepKind, fold};
use crate::journal::{AppendError, Count, Header, Journal, Loaded, Query, Status, Then};
use crate::two_phase::{History, is_transaction};

/// An instance with its records.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Instance {
    /// The header, available without the records.
    pub header: Header,
    /// The state that the records fold to.
    pub state: State,
    /// All records, in order.
    pub records: Vec<Record>,
}

/// Inspects and controls sagas in a journal. It works beside any number of runtimes and needs no definition: it
/// appends requests, and the runtimes carry them out. A runtime in another process notices a request at its next
/// append, or at its next claim.
#[derive(Clone, Debug)]
pub struct Operator {
    journal: Arc<dyn Journal>,
}

const TRIES: usize = 20;

impl Operator {
    /// Creates an operator on this journal.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal }
    }

    /// Returns the instance with all of its records.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance does not exist or cannot be read.
    pub async fn status(&self, id: &str) -> Result<Instance, InstanceError> {
        let loaded = self.load(id).await?;
        is_saga(&loaded.header)?;
        let unreadable = |source| InstanceError::Unreadable { id: id.to_owned(), source };
        let state = read(&loaded).map_err(unreadable)?;
        let records = loaded.records.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>();
        Ok(Instance {
            header: loaded.header,
            state,
            records: records.map_err(|error| unreadable(error.into()))?,
        })
    }

    /// Returns the two-phase commit with all of its records, from the journal of a coordinator.
    ///
    /// # Errors
    ///
    /// Returns an error if the transaction does not exist or cannot be read.
    pub async fn transaction(&self, id: &str) -> Result<History, InstanceError> {
        let loaded = self.load(id).await?;
        History::read(loaded).map_err(|source| InstanceError::Unreadable { id: id.to_owned(), source })
    }

    /// Returns instances in the order of their ids, a page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the journal request fails.
    pub async fn list(&self, query: &Query) -> Result<Vec<Header>, InstanceError> {
        Ok(self.journal.list(query).await?)
    }

    /// Returns the numbers of instances, by saga and status.
    ///
    /// # Errors
    ///
    /// Returns an error if the journal request fails.
    pub async fn counts(&self) -> Result<Vec<Count>, InstanceError> {
        Ok(self.journal.counts().await?)
    }

    /// Requests a cancellation: the saga is undone.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended, or if its pivot has begun, after which nothing is undone.
    pub async fn cancel(&self, id: &str) -> Result<(), InstanceError> {
        let too_late = |_: &Header, state: Option<&State>| {
            let state = state?;
            let mut both = state.started.steps.iter().zip(&state.steps);
            let pivot = both.any(|(shape, step)| shape.kind == StepKind::Pivot && step.action.attempts > 0);
            (pivot && !state.is_aborting()).then(|| InstanceError::TooLate { id: id.to_owned() })
        };
        self.request(id, Record::CancelRequested, too_late, Then::Continue).await
    }

    /// Parks the instance. Running attempts end, and no further ones start.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended.
    pub async fn park(&self, id: &str, reason: &str) -> Result<(), InstanceError> {
        let record = Record::Parked { reason: reason.to_owned() };
        self.request(id, record, |_, _| None, Then::Parked).await
    }

    /// Unparks the instance. If it is not parked but waits for its next attempt, the attempt starts now.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended.
    pub async fn unpark(&self, id: &str) -> Result<(), InstanceError> {
        self.request(id, Record::Unparked, |_, _| None, Then::Continue).await
    }

    /// Starts the next attempt of a waiting instance now. Unlike [`unpark`](Self::unpark) it refuses parked
    /// instances, so that it can be applied to many instances at once.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended or is parked.
    pub async fn retry(&self, id: &str) -> Result<(), InstanceError> {
        let parked = |header: &Header, _: Option<&State>| {
            (header.status == Status::Parked).then(|| InstanceError::Parked { id: id.to_owned() })
        };
        self.request(id, Record::Unparked, parked, Then::Continue).await
    }

    /// Deletes up to `limit` instances that ended before this time, in milliseconds since the Unix epoch, and returns
    /// their number.
    ///
    /// # Errors
    ///
    /// Returns an error if the journal request fails, or if the journal is a coordinator's: the coordinator still
    /// needs ended transactions to answer its participants.
    pub async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, InstanceError> {
        // A journal holds either sagas or transactions, so that one instance decides.
        let first = Query { limit: 1, ..Query::default() };
        self.journal.list(&first).await?.iter().try_for_each(is_saga)?;
        Ok(self.journal.prune(ended_before, limit).await?)
    }

    pub(crate) async fn load(&self, id: &str) -> Result<Loaded, InstanceError> {
        let loaded = self.journal.load(id).await?;
        loaded.ok_or_else(|| InstanceError::NotFound { id: id.to_owned() })
    }

    /// Appends a request at the current end of the instance's journal.
    async fn request(
        &self,
        id: &str,
        record: Record,
        refuse: impl Fn(&Header, Option<&State>) -> Option<InstanceError>,
        then: Then,
    ) -> Result<(), InstanceError> {
        let unreadable = |source| InstanceError::Unreadable { id: id.to_owned(), source };
        let encoded = record.encode().map_err(|error| unreadable(error.into()))?;
        for _ in 0..TRIES {
            let loaded = self.load(id).await?;
            let header = &loaded.header;
            is_saga(header)?;
            if header.status.is_finished() {
                return Err(InstanceError::Ended { id: id.to_owned() });
            }
            // An instance whose records cannot be read can be parked and unparked nevertheless.
            let state = read(&loaded).ok();
            if let Some(error) = refuse(header, state.as_ref()) {
                return Err(error);
            }
            // A parked instance stays parked until it is unparked.
            let stays = header.status == Status::Parked && record != Record::Unparked;
            let then = if stays { Then::Parked } else { then };
            match self.journal.append(id, header.cursor(), vec![encoded.clone()], then).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Fenced) => {}
                Err(AppendError::Journal(error)) => return Err(error.into()),
            }
        }
        Err(InstanceError::Busy { id: id.to_owned() })
    }
}

fn is_saga(header: &Header) -> Result<(), InstanceError> {
    if is_transaction(&header.saga) {
        return Err(InstanceError::Transaction { id: header.id.clone() });
    }
    Ok(())
}

/// Computes the state from the records.
pub(crate) fn read(loaded: &Loaded) -> Result<State, BoxError> {
    let records: Vec<Record> =
        loaded.records.iter().map(|one| Record::decode(one)).collect::<Result<_, _>>()?;
    Ok(fold(&records)?)
}
