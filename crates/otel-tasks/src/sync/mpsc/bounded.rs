//! The bounded channel.
//!
//! Follows the names and errors of [tokio's](https://docs.rs/tokio/latest/tokio/sync/mpsc/struct.Sender.html).

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, SendTimeoutError, TryRecvError, TrySendError};

use super::receiver;
use crate::channel::Channel;
use crate::envelope::WithContext;
use crate::outcome::TaskOutput;

/// The sending half of a bounded channel.
#[derive(Debug)]
pub struct Sender<T> {
    inner: mpsc::Sender<WithContext<T>>,
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
        Ok(Permit { inner: self.inner.reserve().await?, channel: &self.channel })
    }

    /// Takes the capacity for one item without waiting.
    ///
    /// # Errors
    /// tokio's error, if the channel is full or the receiver is closed.
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        Ok(Permit { inner: self.inner.try_reserve()?, channel: &self.channel })
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

    /// Returns a sender that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender { inner: self.inner.downgrade(), channel: self.channel.clone() }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), channel: self.channel.clone() }
    }
}

/// A sender that does not keep the channel open.
#[derive(Debug)]
pub struct WeakSender<T> {
    inner: mpsc::WeakSender<WithContext<T>>,
    channel: Channel,
}

impl<T> WeakSender<T> {
    /// Returns a sender, unless all senders were dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Sender<T>> {
        Some(Sender { inner: self.inner.upgrade()?, channel: self.channel.clone() })
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), channel: self.channel.clone() }
    }
}

/// The capacity for one item.
#[derive(Debug)]
pub struct Permit<'a, T> {
    inner: mpsc::Permit<'a, WithContext<T>>,
    channel: &'a Channel,
}

impl<T> Permit<'_, T> {
    /// Sends an item with the context that is current.
    pub fn send(self, value: T) {
        self.inner.send(self.channel.envelope(value));
    }
}

/// The receiving half of a bounded channel. Items that are in it when it is dropped are counted as dropped.
#[derive(Debug)]
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
