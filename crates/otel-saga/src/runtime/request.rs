//! What is asked about an instance, and of it: by any worker, of whichever worker has it.
//!
//! Follows `docs/sagas.md`, "Requests": a request is a record like any other; the worker that has the instance reads it
//! when its own append comes second, or at once if it is in this process.

use std::sync::Arc;

use tokio::time::sleep;

use super::{Inner, Runtime};
use crate::error::InstanceError;
use crate::journal::{Header, Query, Status};
use crate::operator::{Instance, Operator};

impl<S: Send + Sync + 'static> Runtime<S> {
    /// The instance of this id, and all that happened to it.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub async fn status(&self, id: &str) -> Result<Instance, InstanceError> {
        self.inner.operator().status(id).await
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
            let status = self.inner.operator().load(id).await?.header.status;
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
        self.inner.operator().list(query).await
    }

    /// Asks for the instance to be undone. It is when [`wait`](Self::wait) says so.
    ///
    /// # Errors
    ///
    /// If it has ended, or its pivot was begun: then there is only forward.
    pub async fn cancel(&self, id: &str) -> Result<(), InstanceError> {
        self.inner.operator().cancel(id).await?;
        self.inner.requested(id);
        Ok(())
    }

    /// Lets the instance stand still. Attempts that are under way end, and no other begins.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn park(&self, id: &str, reason: &str) -> Result<(), InstanceError> {
        self.inner.operator().park(id, reason).await?;
        self.inner.requested(id);
        Ok(())
    }

    /// Lets a parked instance go on. One that waits for its next attempt does not wait any longer.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn unpark(&self, id: &str) -> Result<(), InstanceError> {
        self.inner.operator().unpark(id).await?;
        self.inner.requested(id);
        Ok(())
    }

    /// Lets an instance that waits for its next attempt make it now; not one that is parked.
    ///
    /// # Errors
    ///
    /// If it has ended, or is parked.
    pub async fn retry(&self, id: &str) -> Result<(), InstanceError> {
        self.inner.operator().retry(id).await?;
        self.inner.requested(id);
        Ok(())
    }
}

impl<S: Send + Sync + 'static> Inner<S> {
    fn operator(&self) -> Operator {
        Operator::new(Arc::clone(&self.journal))
    }

    /// There is a request in the journal, which is seen at once if the instance is here.
    fn requested(&self, id: &str) {
        if let Some(here) = self.here().get(id) {
            here.requested.notify_one();
        }
        self.poke.notify_one();
    }
}
