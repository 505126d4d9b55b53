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
}

weak_sender!(mpsc, UnboundedSender, WeakUnboundedSender);

/// The receiving half of a channel without a bound. Items that are in it when it is dropped are counted as dropped.
pub struct UnboundedReceiver<T> {
    inner: mpsc::UnboundedReceiver<WithContext<T>>,
    channel: Channel,
}

receiver!(UnboundedReceiver, UnboundedReceiver);

debug!(UnboundedSender, WeakUnboundedSender, UnboundedReceiver);
