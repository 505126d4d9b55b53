//! Inspection and control of sagas over a journal, without a runtime and without definitions.
//!
//! Follows `docs/sagas.md`, "Requests": a request is a record like any other; the worker that owns the instance reads
//! it when its own append is fenced, or at once if it is in the same process.

mod timeline;

use std::sync::Arc;

pub use self::timeline::{TimelineEntry, format_utc};
use serde_json::Value;

use crate::definition::checked;
use crate::error::{BoxError, InstanceError, with_causes};
use crate::flow::{Record, Resolution, State, fold};
use crate::journal::{
    AfterAppend, AppendError, InstanceCount, InstanceSummary, Journal, JournalError, Query, Status,
    StoredInstance, now,
};
use crate::two_phase::{StoredTransaction, is_transaction};

/// An instance with its records.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Instance {
    /// The summary, available without the records.
    pub summary: InstanceSummary,
    /// The state that the records fold to.
    pub state: State,
    /// All records, in order.
    pub records: Vec<Record>,
}

/// Inspects and controls sagas in a journal. It works beside any number of runtimes and needs no definition: it
/// appends requests, and the runtimes carry them out. A runtime in another process notices a request at its next
/// append, or at its next claim.
#[derive(Clone, Debug)]
pub struct SagaAdmin {
    journal: Arc<dyn Journal>,
}

const TRIES: usize = 20;

impl SagaAdmin {
    /// Creates an admin on this journal.
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
        is_saga(&loaded.summary)?;
        let unreadable = |source| InstanceError::Unreadable { id: id.to_owned(), source };
        let state = read(&loaded).map_err(unreadable)?;
        let records = loaded.records.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>();
        Ok(Instance {
            summary: loaded.summary,
            state,
            records: records.map_err(|error| unreadable(error.into()))?,
        })
    }

    /// Returns the two-phase commit with all of its records, from the journal of a coordinator.
    ///
    /// # Errors
    ///
    /// Returns an error if the transaction does not exist or cannot be read.
    pub async fn transaction(&self, id: &str) -> Result<StoredTransaction, InstanceError> {
        let loaded = self.load(id).await?;
        StoredTransaction::read(loaded)
            .map_err(|source| InstanceError::Unreadable { id: id.to_owned(), source })
    }

    /// Returns instances in the order of their ids, a page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the journal request fails.
    pub async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, InstanceError> {
        Ok(self.journal.list(query).await?)
    }

    /// Returns the numbers of instances, by saga and status.
    ///
    /// # Errors
    ///
    /// Returns an error if the journal request fails.
    pub async fn counts(&self) -> Result<Vec<InstanceCount>, InstanceError> {
        Ok(self.journal.counts().await?)
    }

    /// Returns the reason for which the instance is parked, or is to be; `None` if it is neither. The reason of an
    /// instance that cannot be read is the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the journal request fails.
    pub async fn park_reason(&self, summary: &InstanceSummary) -> Result<Option<String>, InstanceError> {
        if summary.status.is_finished() || is_transaction(&summary.saga) {
            return Ok(None);
        }
        let is_parked = summary.status == Status::Parked;
        match self.journal.load(&summary.id).await {
            Ok(Some(loaded)) => Ok(match read(&loaded) {
                Ok(state) => state.parked.or(state.park_requested),
                Err(error) => is_parked.then(|| with_causes(&*error)),
            }),
            Ok(None) => Ok(None),
            Err(error @ JournalError::Damaged { .. }) => Ok(is_parked.then(|| with_causes(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Requests a cancellation: the saga is undone.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended, or if its pivot has begun, after which nothing is undone:
    /// [`resolve`](Self::resolve) the pivot instead.
    pub async fn cancel(&self, id: &str) -> Result<(), InstanceError> {
        let cancel = |summary: &InstanceSummary, state: Result<&State, _>| {
            if state.is_ok_and(|state| state.pivot_has_begun() && !state.is_aborting()) {
                return Err(InstanceError::TooLate { id: id.to_owned() });
            }
            // A parked instance stays parked until it is unparked.
            let is_parked = summary.status == Status::Parked;
            Ok((Record::CancelRequested, if is_parked { AfterAppend::Parked } else { AfterAppend::Continue }))
        };
        self.request(id, cancel).await
    }

    /// Parks the instance. No further attempt starts, and the worker that owns the instance parks it when its running
    /// attempts have ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended.
    pub async fn park(&self, id: &str, reason: &str) -> Result<(), InstanceError> {
        let park = |summary: &InstanceSummary, state: Result<&State, _>| {
            let reason = reason.to_owned();
            // Only the owner knows which attempts are running. An instance that cannot be read runs none.
            let is_owned = summary.status == Status::Running && summary.owner.is_some();
            Ok(if is_owned && state.is_ok() {
                (Record::ParkRequested { reason }, AfterAppend::Continue)
            } else {
                (Record::Parked { reason }, AfterAppend::Parked)
            })
        };
        self.request(id, park).await
    }

    /// Unparks the instance. If it is not parked but waits for its next attempt, the attempt starts now; if an
    /// attempt is running and fails, the next one follows at once.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended.
    pub async fn unpark(&self, id: &str) -> Result<(), InstanceError> {
        self.request(id, |_, _| Ok((Record::Unparked, AfterAppend::Continue))).await
    }

    /// Starts the next attempt of a waiting instance now; if an attempt is running and fails, the next one follows at
    /// once. Unlike [`unpark`](Self::unpark) it refuses parked instances, so that it can be applied to many instances
    /// at once.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended or is parked, or is to be.
    pub async fn retry(&self, id: &str) -> Result<(), InstanceError> {
        let retry = |summary: &InstanceSummary, state: Result<&State, _>| {
            let is_to_be = state.is_ok_and(|state| state.park_requested.is_some());
            if summary.status == Status::Parked || is_to_be {
                return Err(InstanceError::Parked { id: id.to_owned() });
            }
            Ok((Record::Unparked, AfterAppend::Continue))
        };
        self.request(id, retry).await
    }

    /// States the outcome of a step of a parked instance, because its participant cannot. It stays parked: unpark it
    /// afterwards. `who` and `why` are journaled, and are in the trace.
    ///
    /// | resolution | for a step | and then the saga |
    /// |---|---|---|
    /// | `Done(output)` | whose action has begun and has no outcome, a refused forward step, or one that was done: the output is replaced | continues |
    /// | `Refused` | that is compensatable or the pivot, and whose action has begun and has no outcome | is undone; nothing of this step |
    /// | `Undone` | that is to be undone | undoes the remaining steps |
    ///
    /// # Errors
    ///
    /// Returns an error if the instance is not parked, if it has no such step, or if the step cannot have this
    /// outcome.
    pub async fn resolve(
        &self,
        id: &str,
        step: &str,
        resolution: Resolution,
        who: &str,
        why: &str,
    ) -> Result<(), InstanceError> {
        let resolution = match resolution {
            Resolution::Done(output) => {
                Resolution::Done(checked::<Value>(output).map_err(InstanceError::Output)?.0)
            }
            resolution => resolution,
        };
        let resolve = |summary: &InstanceSummary, state: Result<&State, BoxError>| {
            let id = || id.to_owned();
            let state = state.map_err(|source| InstanceError::Unreadable { id: id(), source })?;
            if summary.status != Status::Parked {
                return Err(InstanceError::NotParked { id: id() });
            }
            let numbers = (0_u16..).zip(&state.started.steps);
            let number = numbers.filter(|(_, spec)| spec.name == step).map(|(number, _)| number).next();
            let number =
                number.ok_or_else(|| InstanceError::NoSuchStep { id: id(), step: step.to_owned() })?;
            let (resolution, who, why) = (resolution.clone(), who.to_owned(), why.to_owned());
            let record = Record::Resolved { step: number, resolution, who, why, at: now() };
            let index = usize::try_from(summary.head).unwrap_or(usize::MAX);
            state.clone().apply(index, &record).map_err(|source| InstanceError::Unresolvable {
                id: id(),
                step: step.to_owned(),
                source,
            })?;
            Ok((record, AfterAppend::Parked))
        };
        self.request(id, resolve).await
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

    pub(crate) async fn load(&self, id: &str) -> Result<StoredInstance, InstanceError> {
        let loaded = self.journal.load(id).await?;
        loaded.ok_or_else(|| InstanceError::NotFound { id: id.to_owned() })
    }

    /// Appends a request at the current end of the instance's journal. The closure receives the summary and the state,
    /// or the reason for which the records cannot be read.
    async fn request(
        &self,
        id: &str,
        make: impl Fn(&InstanceSummary, Result<&State, BoxError>) -> Result<(Record, AfterAppend), InstanceError>,
    ) -> Result<(), InstanceError> {
        for _ in 0..TRIES {
            let loaded = self.load(id).await?;
            let summary = &loaded.summary;
            is_saga(summary)?;
            if summary.status.is_finished() {
                return Err(InstanceError::Ended { id: id.to_owned() });
            }
            let state = read(&loaded);
            let (record, after_append) = match state {
                Ok(state) => make(summary, Ok(&state))?,
                Err(error) => make(summary, Err(error))?,
            };
            let encoded = record
                .encode()
                .map_err(|error| InstanceError::Unreadable { id: id.to_owned(), source: error.into() })?;
            match self.journal.append(id, summary.cursor(), vec![encoded], after_append).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Fenced) => {}
                Err(AppendError::Journal(error)) => return Err(error.into()),
            }
        }
        Err(InstanceError::Busy { id: id.to_owned() })
    }
}

fn is_saga(summary: &InstanceSummary) -> Result<(), InstanceError> {
    if is_transaction(&summary.saga) {
        return Err(InstanceError::Transaction { id: summary.id.clone() });
    }
    Ok(())
}

/// Computes the state from the records.
pub(crate) fn read(loaded: &StoredInstance) -> Result<State, BoxError> {
    let records: Vec<Record> =
        loaded.records.iter().map(|one| Record::decode(one)).collect::<Result<_, _>>()?;
    Ok(fold(&records)?)
}
