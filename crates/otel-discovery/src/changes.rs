//! The changes of a watch, in batches or one by one for tower.
//!
//! Follows [tower's `Discover`](https://docs.rs/tower/latest/tower/discover/trait.Discover.html).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use futures_core::Stream;
use futures_core::future::BoxFuture;
use tokio::sync::watch;
use tower::discover::Change;

use crate::endpoint::Endpoint;
use crate::endpoint_set::{EndpointChange, EndpointSet};
use crate::endpoints::{AbortOnDrop, Endpoints, WatchState};

/// The changes of the endpoints since the ones that it has returned.
pub(crate) struct Changes {
    state: watch::Receiver<WatchState>,
    returned: EndpointSet,
}

impl Changes {
    pub(crate) fn new(endpoints: &Endpoints) -> Self {
        let mut state = endpoints.shared().state.subscribe();
        // The present endpoints are a change as well.
        state.mark_changed();
        Self { state, returned: EndpointSet::default() }
    }

    /// Waits for a change of the state, and returns the changes of the endpoints, of which there can be none. `None` if the
    /// watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Vec<EndpointChange>> {
        self.state.changed().await.ok()?;
        Some(self.take())
    }

    /// Returns the changes since the last call, without a wait.
    pub(crate) fn take(&mut self) -> Vec<EndpointChange> {
        let endpoints = self.state.borrow_and_update().endpoints.clone();
        let changes = self.returned.changes_to(&endpoints);
        self.returned = endpoints;
        changes
    }
}

/// The endpoints of a service for tower's `Balance`: a [`Discover`](tower::discover::Discover) whose services `connect` makes.
pub struct DiscoverStream<C> {
    connect: C,
    pending: VecDeque<EndpointChange>,
    /// Has the changes while it does not wait.
    next: BoxFuture<'static, Option<(Changes, Vec<EndpointChange>)>>,
    _task: Arc<AbortOnDrop>,
}

impl Endpoints {
    /// Returns the endpoints as a stream of changes for tower's `Balance`. [`BalanceOptions`](crate::BalanceOptions) makes a
    /// service that records its choices; tower's does not.
    #[must_use]
    pub fn discover<C, S>(&self, connect: C) -> DiscoverStream<C>
    where
        C: FnMut(&Endpoint) -> S,
    {
        let next = wait(Changes::new(self));
        DiscoverStream { connect, pending: VecDeque::new(), next, _task: Arc::clone(self.task()) }
    }
}

fn wait(mut changes: Changes) -> BoxFuture<'static, Option<(Changes, Vec<EndpointChange>)>> {
    Box::pin(async move {
        let batch = changes.next().await?;
        Some((changes, batch))
    })
}

impl<C, S> Stream for DiscoverStream<C>
where
    C: FnMut(&Endpoint) -> S + Unpin,
{
    type Item = Result<Change<Arc<str>, S>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.pending.pop_front() {
                Some(Change::Insert(id, endpoint)) => {
                    return Poll::Ready(Some(Ok(Change::Insert(id, (self.connect)(&endpoint)))));
                }
                Some(Change::Remove(id)) => return Poll::Ready(Some(Ok(Change::Remove(id)))),
                None => {}
            }
            let Some((changes, batch)) = ready!(self.next.as_mut().poll(cx)) else {
                self.next = Box::pin(std::future::ready(None));
                return Poll::Ready(None);
            };
            self.pending = batch.into();
            self.next = wait(changes);
        }
    }
}

impl<C> fmt::Debug for DiscoverStream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverStream").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}
