//! The channel without a bound.
//!
//! Follows the names and errors of [tokio's](https://docs.rs/tokio/latest/tokio/sync/mpsc/struct.UnboundedSender.html).

use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TryRecvError};

use super::receiver;
use crate::channel::Channel;
use crate::envelope::WithContext;
use crate::outcome::TaskOutput;

/// The sending half of a channel without a bound.
pub struct UnboundedSender<T> {
    inner: mpsc::UnboundedSender<WithContext<T>>,
    channel: Channel,
}

impl<T> UnboundedSender<T> {
    pub(super) fn new(inner: mpsc::UnboundedSender<WithContext<T>>, channel: Channel) -> Self {
        Self { inner, channel }
    }

    /// Sends an item with the context that is current.
    ///
    /// # Errors
    /// tokio's error with the item, if the receiver is closed.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let sent = self.inner.send(self.channel.envelope(value));
        sent.map_err(|SendError(item)| SendError(item.into_refused()))
    }

    /// Waits until the receiver is closed.
    pub async fn closed(&self) {
        self.inner.closed().await;
    }

    /// Returns true if the receiver is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Returns true if both senders belong to the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        self.inner.same_channel(&other.inner)
    }

    /// Returns a sender that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakUnboundedSender<T> {
        WeakUnboundedSender { inner: self.inner.downgrade(), channel: self.channel.clone() }
    }

    /// Returns the number of senders.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.inner.strong_count()
    }

    /// Returns the number of senders that do not keep the channel open.
    #[must_use]
    pub fn weak_count(&self) -> usize {
        self.inner.weak_count()
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), channel: self.channel.clone() }
    }
}

/// A sender that does not keep the channel open.
pub struct WeakUnboundedSender<T> {
    inner: mpsc::WeakUnboundedSender<WithContext<T>>,
    channel: Channel,
}

impl<T> WeakUnboundedSender<T> {
    /// Returns a sender, unless all senders were dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<UnboundedSender<T>> {
        Some(UnboundedSender { inner: self.inner.upgrade()?, channel: self.channel.clone() })
    }

    /// Returns the number of senders.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.inner.strong_count()
    }

    /// Returns the number of senders that do not keep the channel open.
    #[must_use]
    pub fn weak_count(&self) -> usize {
        self.inner.weak_count()
    }
}

impl<T> Clone for WeakUnboundedSender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), channel: self.channel.clone() }
    }
}

/// The receiving half of a channel without a bound. Items that are in it when it is dropped are counted as dropped.
pub struct UnboundedReceiver<T> {
    inner: mpsc::UnboundedReceiver<WithContext<T>>,
    channel: Channel,
}

receiver!(UnboundedReceiver, UnboundedReceiver);

debug!(UnboundedSender, WeakUnboundedSender, UnboundedReceiver);
