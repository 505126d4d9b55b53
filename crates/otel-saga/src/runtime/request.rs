//! Queries and requests: from any worker, for instances that any worker owns.
//!
//! Follows `docs/sagas.md`, "Requests": a request is a record like any other; the worker that owns the instance reads
//! it when its own append is fenced, or at once if it is in this process.

use std::sync::Arc;

use tokio::time::sleep;

use super::slots::Suspended;
use super::{Inner, Runtime};
use crate::admin::{Instance, SagaAdmin};
use crate::error::InstanceError;
use crate::flow::Resolution;
use crate::journal::{InstanceSummary, JournalError, Query, Status};

impl<S: Send + Sync + 'static> Runtime<S> {
    /// Returns the instance with all of its records.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance does not exist or cannot be read.
    pub async fn status(&self, id: &str) -> Result<Instance, InstanceError> {
        self.inner.admin().status(id).await
    }

    /// Waits until the instance has ended or is parked, on any worker. While the journal is unavailable, it is asked
    /// again at each poll interval.
    ///
    /// A step that waits for another saga holds no slot meanwhile, so that the other saga gets one. This needs the task
    /// of the step: a wait in a task that the step spawns holds the slot.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance does not exist or its data are damaged.
    pub async fn wait(&self, id: &str) -> Result<Status, InstanceError> {
        let mut suspended = None;
        let status = self.wait_suspended(id, &mut suspended).await;
        if let Some(suspended) = suspended {
            suspended.end().await;
        }
        status
    }

    async fn wait_suspended(
        &self,
        id: &str,
        suspended: &mut Option<Suspended>,
    ) -> Result<Status, InstanceError> {
        loop {
            // Subscribes before the journal is read, so that an end in between is noticed.
            let gone = self.inner.local().get(id).map(|instance| instance.gone.clone());
            match self.inner.journal.summary(id).await {
                Ok(Some(summary)) if summary.status != Status::Running => return Ok(summary.status),
                Ok(None) => return Err(InstanceError::NotFound { id: id.to_owned() }),
                Err(error @ JournalError::Damaged { .. }) => return Err(error.into()),
                Ok(Some(_)) | Err(_) => {}
            }
            if suspended.is_none() {
                *suspended = Suspended::begin();
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

    /// Returns instances in the order of their ids, a page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the journal request fails.
    pub async fn list(&self, query: &Query) -> Result<Vec<InstanceSummary>, InstanceError> {
        self.inner.admin().list(query).await
    }

    /// Requests a cancellation: the saga is undone. Use [`wait`](Self::wait) to wait for the outcome.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended, or if its pivot has begun, after which nothing is undone.
    pub async fn cancel(&self, id: &str) -> Result<(), InstanceError> {
        self.inner.admin().cancel(id).await?;
        self.inner.requested(id);
        Ok(())
    }

    /// Parks the instance. No further attempt starts, and the worker that owns the instance parks it when its running
    /// attempts have ended. Use [`wait`](Self::wait) to wait for that.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended.
    pub async fn park(&self, id: &str, reason: &str) -> Result<(), InstanceError> {
        self.inner.admin().park(id, reason).await?;
        self.inner.requested(id);
        Ok(())
    }

    /// Unparks the instance. If it is not parked but waits for its next attempt, the attempt starts now.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended.
    pub async fn unpark(&self, id: &str) -> Result<(), InstanceError> {
        self.inner.admin().unpark(id).await?;
        self.inner.requested(id);
        Ok(())
    }

    /// Starts the next attempt of a waiting instance now; if an attempt is running and fails, the next one follows at
    /// once. Parked instances are refused.
    ///
    /// # Errors
    ///
    /// Returns an error if the instance has ended or is parked.
    pub async fn retry(&self, id: &str) -> Result<(), InstanceError> {
        self.inner.admin().retry(id).await?;
        self.inner.requested(id);
        Ok(())
    }

    /// States the outcome of a step of a parked instance, because its participant cannot. It stays parked: unpark it
    /// afterwards. See [`SagaAdmin::resolve`].
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
        self.inner.admin().resolve(id, step, resolution, who, why).await
    }
}

impl<S: Send + Sync + 'static> Inner<S> {
    fn admin(&self) -> SagaAdmin {
        SagaAdmin::new(Arc::clone(&self.journal))
    }

    /// Wakes the driving task of the instance, if it is in this process, and the claiming loop.
    fn requested(&self, id: &str) {
        if let Some(instance) = self.local().get(id) {
            instance.requested.notify_one();
        }
        self.wake_claimer.notify_one();
    }
}
