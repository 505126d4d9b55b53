//! The bounded channel.
//!
//! Follows the names and errors of [tokio's](https://docs.rs/tokio/latest/tokio/sync/mpsc/struct.Sender.html).

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, SendTimeoutError, TryRecvError, TrySendError};

use super::{OwnedPermit, Permit, PermitIterator, receiver};
use crate::channel::Channel;
use crate::envelope::WithContext;
use crate::outcome::TaskOutput;

/// The sending half of a bounded channel.
pub struct Sender<T> {
    pub(super) inner: mpsc::Sender<WithContext<T>>,
    channel: Channel,
}

impl<T> Sender<T> {
    pub(super) fn new(inner: mpsc::Sender<WithContext<T>>, channel: Channel) -> Self {
        Self { inner, channel }
    }

    /// Sends an item with the context that is current, once there is capacity.
    ///
    /// # Errors
    /// tokio's error with the item, if the receiver is closed.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        // As tokio's `send` does. The item counts from its place in the channel.
        match self.inner.reserve().await {
            Ok(permit) => {
                permit.send(self.channel.envelope(value));
                Ok(())
            }
            Err(SendError(())) => Err(SendError(value)),
        }
    }

    /// Sends an item if there is capacity.
    ///
    /// # Errors
    /// tokio's error with the item, if the channel is full or the receiver is closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.inner.try_reserve() {
            Ok(permit) => {
                permit.send(self.channel.envelope(value));
                Ok(())
            }
            Err(TrySendError::Full(())) => Err(TrySendError::Full(value)),
            Err(TrySendError::Closed(())) => Err(TrySendError::Closed(value)),
        }
    }

    /// Sends an item once there is capacity, or gives up after `timeout`.
    ///
    /// # Errors
    /// tokio's error with the item, if the time has passed or the receiver is closed.
    ///
    /// # Panics
    /// If no tokio runtime with time enabled is current.
    pub async fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        match tokio::time::timeout(timeout, self.inner.reserve()).await {
            Ok(Ok(permit)) => {
                permit.send(self.channel.envelope(value));
                Ok(())
            }
            Ok(Err(SendError(()))) => Err(SendTimeoutError::Closed(value)),
            Err(_) => Err(SendTimeoutError::Timeout(value)),
        }
    }

    /// Sends an item in synchronous code.
    ///
    /// # Errors
    /// tokio's error with the item, if the receiver is closed.
    ///
    /// # Panics
    /// If it is called in asynchronous code.
    #[track_caller]
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        // tokio has no `blocking_reserve`: the item counts while it waits for its place.
        let sent = self.inner.blocking_send(self.channel.envelope(value));
        sent.map_err(|SendError(item)| SendError(item.into_refused()))
    }

    /// Waits for capacity for one item.
    ///
    /// # Errors
    /// tokio's error, if the receiver is closed.
    pub async fn reserve(&self) -> Result<Permit<'_, T>, SendError<()>> {
        Ok(Permit::new(self.inner.reserve().await?, &self.channel))
    }

    /// Takes the capacity for one item without waiting.
    ///
    /// # Errors
    /// tokio's error, if the channel is full or the receiver is closed.
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        Ok(Permit::new(self.inner.try_reserve()?, &self.channel))
    }

    /// Waits for capacity for `n` items.
    ///
    /// # Errors
    /// tokio's error, if the receiver is closed or `n` exceeds the capacity of the channel.
    pub async fn reserve_many(&self, n: usize) -> Result<PermitIterator<'_, T>, SendError<()>> {
        Ok(PermitIterator::new(self.inner.reserve_many(n).await?, &self.channel))
    }

    /// Takes the capacity for `n` items without waiting.
    ///
    /// # Errors
    /// tokio's error, if the channel has not the capacity or the receiver is closed.
    pub fn try_reserve_many(&self, n: usize) -> Result<PermitIterator<'_, T>, TrySendError<()>> {
        Ok(PermitIterator::new(self.inner.try_reserve_many(n)?, &self.channel))
    }

    /// Waits for capacity for one item. The permit owns this sender.
    ///
    /// # Errors
    /// tokio's error, if the receiver is closed.
    pub async fn reserve_owned(self) -> Result<OwnedPermit<T>, SendError<()>> {
        Ok(OwnedPermit::new(self.inner.reserve_owned().await?, self.channel))
    }

    /// Takes the capacity for one item without waiting. The permit owns this sender.
    ///
    /// # Errors
    /// tokio's error with this sender, if the channel is full or the receiver is closed.
    pub fn try_reserve_owned(self) -> Result<OwnedPermit<T>, TrySendError<Self>> {
        let Self { inner, channel } = self;
        match inner.try_reserve_owned() {
            Ok(permit) => Ok(OwnedPermit::new(permit, channel)),
            Err(TrySendError::Full(inner)) => Err(TrySendError::Full(Self { inner, channel })),
            Err(TrySendError::Closed(inner)) => Err(TrySendError::Closed(Self { inner, channel })),
        }
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

    /// Returns the free capacity of the channel, in items.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// Returns the capacity of the empty channel, in items.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.inner.max_capacity()
    }
}

weak_sender!(mpsc, Sender, WeakSender);

/// The receiving half of a bounded channel. Items that are in it when it is dropped are counted as dropped.
pub struct Receiver<T> {
    inner: mpsc::Receiver<WithContext<T>>,
    channel: Channel,
}

receiver!(Receiver, Receiver);

impl<T> Receiver<T> {
    /// Returns the free capacity of the channel, in items.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// Returns the capacity of the empty channel, in items.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.inner.max_capacity()
    }
}

debug!(Sender, WeakSender, Receiver);
