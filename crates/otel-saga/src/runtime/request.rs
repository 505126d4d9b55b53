//! What is asked about an instance, and of it: by any worker, of whichever worker has it.
//!
//! Follows DESIGN.md, "Sagas". A request is a record like any other; the worker that has the instance reads it when its
//! own append comes second, or at once if it is here.

use tokio::time::sleep;

use super::append::read;
use super::{Inner, Runtime};
use crate::error::InstanceError;
use crate::flow::{Record, State, StepKind};
use crate::journal::{AppendError, Header, Loaded, Query, Status, Then};

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

const TRIES: usize = 20;

impl<S: Send + Sync + 'static> Runtime<S> {
    /// The instance of this id, and all that happened to it.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub async fn status(&self, id: &str) -> Result<Instance, InstanceError> {
        let loaded = self.inner.load(id).await?;
        let unreadable = |source| InstanceError::Unreadable { id: id.to_owned(), source };
        let state = read(&loaded).map_err(unreadable)?;
        let records = loaded.records.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>();
        Ok(Instance {
            header: loaded.header,
            state,
            records: records.map_err(|error| unreadable(error.into()))?,
        })
    }

    /// Waits until the instance has ended or is parked, wherever it is.
    ///
    /// # Errors
    ///
    /// If there is none, or the journal does not answer.
    pub async fn wait(&self, id: &str) -> Result<Status, InstanceError> {
        loop {
            // Asked before the journal is, so that an end in between is noticed.
            let gone = self.inner.here().get(id).map(|here| here.gone.clone());
            let status = self.inner.load(id).await?.header.status;
            if status != Status::Running {
                return Ok(status);
            }
            let leaves = async {
                match gone {
                    Some(mut gone) => _ = gone.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = leaves => {}
                () = sleep(self.inner.options.poll) => {}
            }
        }
    }

    /// Instances in the order of their ids, a page at a time.
    ///
    /// # Errors
    ///
    /// If the journal does not answer.
    pub async fn list(&self, query: &Query) -> Result<Vec<Header>, InstanceError> {
        Ok(self.inner.journal.list(query).await?)
    }

    /// Asks for the instance to be undone. It is when [`wait`](Self::wait) says so.
    ///
    /// # Errors
    ///
    /// If it has ended, or its pivot was begun: then there is only forward.
    pub async fn cancel(&self, id: &str) -> Result<(), InstanceError> {
        let too_late = |state: &State| {
            let mut both = state.started.steps.iter().zip(&state.steps);
            let pivot = both.any(|(shape, step)| shape.kind == StepKind::Pivot && step.action.attempts > 0);
            (pivot && !state.is_aborting()).then(|| InstanceError::TooLate { id: id.to_owned() })
        };
        self.inner.request(id, Record::CancelRequested, too_late, Then::Continue).await
    }

    /// Lets the instance stand still. Attempts that are under way end, and no other begins.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn park(&self, id: &str, reason: &str) -> Result<(), InstanceError> {
        let record = Record::Parked { reason: reason.to_owned() };
        self.inner.request(id, record, |_| None, Then::Parked).await
    }

    /// Lets a parked instance go on. One that waits for its next attempt does not wait any longer.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn unpark(&self, id: &str) -> Result<(), InstanceError> {
        self.inner.request(id, Record::Unparked, |_| None, Then::Continue).await
    }
}

impl<S: Send + Sync + 'static> Inner<S> {
    async fn load(&self, id: &str) -> Result<Loaded, InstanceError> {
        let loaded = self.journal.load(id).await?;
        loaded.ok_or_else(|| InstanceError::NotFound { id: id.to_owned() })
    }

    /// Appends a request, at whatever place the instance is by then.
    async fn request(
        &self,
        id: &str,
        record: Record,
        refuse: impl Fn(&State) -> Option<InstanceError>,
        then: Then,
    ) -> Result<(), InstanceError> {
        let unreadable = |source| InstanceError::Unreadable { id: id.to_owned(), source };
        let encoded = record.encode().map_err(|error| unreadable(error.into()))?;
        for _ in 0..TRIES {
            let loaded = self.load(id).await?;
            if loaded.header.status.is_finished() {
                return Err(InstanceError::Ended { id: id.to_owned() });
            }
            // What cannot be read can be parked and unparked all the same.
            let state = read(&loaded);
            if let Ok(state) = &state
                && let Some(error) = refuse(state)
            {
                return Err(error);
            }
            // Only unparking ends a parking.
            let stays = loaded.header.status == Status::Parked && record != Record::Unparked;
            let then = if stays { Then::Parked } else { then };
            match self.journal.append(id, loaded.header.cursor(), vec![encoded.clone()], then).await {
                Ok(_) => {
                    if let Some(here) = self.here().get(id) {
                        here.requested.notify_one();
                    }
                    self.poke.notify_one();
                    return Ok(());
                }
                Err(AppendError::Fenced) => {}
                Err(AppendError::Journal(error)) => return Err(error.into()),
            }
        }
        Err(InstanceError::Busy { id: id.to_owned() })
    }
}
