//! What people do to sagas, and what they look at: over a journal, with no runtime and without any definition.
//!
//! Follows `docs/sagas.md`, "Requests": a request is a record like any other; the worker that has the instance reads it
//! when its own append comes second, or at once if it is in the same process.

mod timeline;

use std::sync::Arc;

pub use self::timeline::{Moment, utc};
use crate::error::{BoxError, InstanceError};
use crate::flow::{Record, State, StepKind, fold};
use crate::journal::{AppendError, Count, Header, Journal, Loaded, Query, Status, Then};
use crate::two_phase::{History, is_transaction};

/// An instance as the journal has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Instance {
    /// What is known without its records.
    pub header: Header,
    /// What its records amount to.
    pub state: State,
    /// Everything that happened, in order.
    pub records: Vec<Record>,
}

/// A person's hand on a journal. It works beside any number of runtimes, and knows no definition: what it asks for is
/// done by the runtimes. Those in other processes notice at their next append, or when they next look for what is due.
#[derive(Clone, Debug)]
pub struct Operator {
    journal: Arc<dyn Journal>,
}

const TRIES: usize = 20;

impl Operator {
    /// On this journal.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal }
    }

    /// The instance of this id, and all that happened to it.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
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

    /// The two-phase commit of this id, and all that happened to it, where the journal is a coordinator's.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub async fn transaction(&self, id: &str) -> Result<History, InstanceError> {
        let loaded = self.load(id).await?;
        History::read(loaded).map_err(|source| InstanceError::Unreadable { id: id.to_owned(), source })
    }

    /// Instances in the order of their ids, a page at a time.
    ///
    /// # Errors
    ///
    /// If the journal does not answer.
    pub async fn list(&self, query: &Query) -> Result<Vec<Header>, InstanceError> {
        Ok(self.journal.list(query).await?)
    }

    /// How many instances there are, by saga and status.
    ///
    /// # Errors
    ///
    /// If the journal does not answer.
    pub async fn counts(&self) -> Result<Vec<Count>, InstanceError> {
        Ok(self.journal.counts().await?)
    }

    /// Asks for the instance to be undone.
    ///
    /// # Errors
    ///
    /// If it has ended, or its pivot was begun: then there is only forward.
    pub async fn cancel(&self, id: &str) -> Result<(), InstanceError> {
        let too_late = |_: &Header, state: Option<&State>| {
            let state = state?;
            let mut both = state.started.steps.iter().zip(&state.steps);
            let pivot = both.any(|(shape, step)| shape.kind == StepKind::Pivot && step.action.attempts > 0);
            (pivot && !state.is_aborting()).then(|| InstanceError::TooLate { id: id.to_owned() })
        };
        self.request(id, Record::CancelRequested, too_late, Then::Continue).await
    }

    /// Lets the instance stand still. Attempts that are under way end, and no other begins.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn park(&self, id: &str, reason: &str) -> Result<(), InstanceError> {
        let record = Record::Parked { reason: reason.to_owned() };
        self.request(id, record, |_, _| None, Then::Parked).await
    }

    /// Lets a parked instance go on. One that waits for its next attempt does not wait any longer.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn unpark(&self, id: &str) -> Result<(), InstanceError> {
        self.request(id, Record::Unparked, |_, _| None, Then::Continue).await
    }

    /// Lets an instance that waits for its next attempt make it now. Unlike [`unpark`](Self::unpark) it leaves alone what
    /// was parked, so that it can be said of many at once.
    ///
    /// # Errors
    ///
    /// If it has ended, or is parked.
    pub async fn retry(&self, id: &str) -> Result<(), InstanceError> {
        let parked = |header: &Header, _: Option<&State>| {
            (header.status == Status::Parked).then(|| InstanceError::Parked { id: id.to_owned() })
        };
        self.request(id, Record::Unparked, parked, Then::Continue).await
    }

    /// Forgets up to `limit` instances that ended before this time (milliseconds since 1970), and says how many.
    ///
    /// # Errors
    ///
    /// If the journal does not answer, or is a coordinator's: what participants may ask about is known to that one.
    pub async fn prune(&self, ended_before: u64, limit: usize) -> Result<u64, InstanceError> {
        // It holds transactions alone, or none.
        let first = Query { limit: 1, ..Query::default() };
        self.journal.list(&first).await?.iter().try_for_each(is_saga)?;
        Ok(self.journal.prune(ended_before, limit).await?)
    }

    pub(crate) async fn load(&self, id: &str) -> Result<Loaded, InstanceError> {
        let loaded = self.journal.load(id).await?;
        loaded.ok_or_else(|| InstanceError::NotFound { id: id.to_owned() })
    }

    /// Appends a request, at whatever place the instance is by then.
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
            // What cannot be read can be parked and unparked all the same.
            let state = read(&loaded).ok();
            if let Some(error) = refuse(header, state.as_ref()) {
                return Err(error);
            }
            // Only unparking ends a parking.
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

/// The instance that these records are of.
pub(crate) fn read(loaded: &Loaded) -> Result<State, BoxError> {
    let records: Vec<Record> =
        loaded.records.iter().map(|one| Record::decode(one)).collect::<Result<_, _>>()?;
    Ok(fold(&records)?)
}
