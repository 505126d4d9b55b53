//! tokio's `broadcast` channel, whose items carry the context in which they were sent.
//!
//! Follows the names and errors of [tokio's](https://docs.rs/tokio/latest/tokio/sync/broadcast/index.html). Each receiver gets
//! each item, so that the channel has no depth: the time of an item in the channel is measured for each receiver, and the items
//! that a receiver has missed are counted as dropped.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, SendError, TryRecvError};

use crate::channel::Channel;
use crate::envelope::WithContext;
use crate::outcome::TaskOutput;

/// Creates a channel that keeps up to `capacity` items, as [`tokio::sync::broadcast::channel`] does.
///
/// # Panics
/// If `capacity` is 0 or greater than tokio's limit.
#[track_caller]
pub fn channel<T: Clone>(channel: impl Into<Channel>, capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = broadcast::channel(capacity);
    let channel = channel.into();
    (Sender { inner: sender, channel: channel.clone() }, Receiver { inner: receiver, channel })
}

/// The sending half.
pub struct Sender<T> {
    inner: broadcast::Sender<WithContext<T>>,
    channel: Channel,
}

impl<T> Sender<T> {
    /// Creates a channel without a receiver.
    ///
    /// # Panics
    /// If `capacity` is 0 or greater than tokio's limit.
    #[must_use]
    #[track_caller]
    pub fn new(channel: impl Into<Channel>, capacity: usize) -> Self {
        Self { inner: broadcast::Sender::new(capacity), channel: channel.into() }
    }

    /// Sends an item with the context that is current to all receivers, and returns their number.
    ///
    /// # Errors
    /// tokio's error with the item, if there is no receiver.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let sent = self.inner.send(self.channel.uncounted(value));
        sent.map_err(|SendError(item)| SendError(item.into_refused()))
    }

    /// Returns a receiver of the items that are sent from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { inner: self.inner.subscribe(), channel: self.channel.clone() }
    }

    /// Returns the number of items that a receiver has not received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns true if all receivers have received all items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Returns the number of receivers.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.inner.receiver_count()
    }

    /// Waits until there is no receiver.
    pub async fn closed(&self) {
        self.inner.closed().await;
    }
}

weak_sender!(broadcast, Sender, WeakSender);

/// The receiving half. The items that it has missed, and those that it has not received when it is dropped, are counted as
/// dropped, but for items that are sent during the drop.
pub struct Receiver<T> {
    inner: broadcast::Receiver<WithContext<T>>,
    channel: Channel,
}

impl<T> Receiver<T> {
    /// Returns the channel, for [`Channel::process`] of an item that was received before.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the number of items that were sent and that it has not received, with those that it will miss.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns true if it has received all items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Returns true if both receivers belong to the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        self.inner.same_channel(&other.inner)
    }
}

impl<T: Clone> Receiver<T> {
    /// Receives an item. Cancel safe.
    ///
    /// # Errors
    /// tokio's error, if all senders were dropped, or with the number of items that this receiver has missed.
    pub async fn recv(&mut self) -> Result<WithContext<T>, RecvError> {
        let mut received = self.inner.recv().await;
        self.receive(&mut received);
        received
    }

    /// Receives an item and runs a handler for it inside of a `process` span ([`Channel::process`]).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn process<F>(&mut self, handler: impl FnOnce(T) -> F) -> Result<F::Output, RecvError>
    where
        F: Future<Output: TaskOutput>,
    {
        let item = self.recv().await?;
        Ok(self.channel.process(item, handler).await)
    }

    /// Receives an item without waiting.
    ///
    /// # Errors
    /// tokio's error, if there is no item, or as [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<WithContext<T>, TryRecvError> {
        let mut received = self.inner.try_recv();
        match &mut received {
            Ok(item) => self.channel.receive(item),
            Err(TryRecvError::Lagged(missed)) => self.channel.count_dropped(*missed),
            Err(_) => {}
        }
        received
    }

    /// Receives an item in synchronous code.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Panics
    /// If it is called in asynchronous code.
    #[track_caller]
    pub fn blocking_recv(&mut self) -> Result<WithContext<T>, RecvError> {
        let mut received = self.inner.blocking_recv();
        self.receive(&mut received);
        received
    }

    /// Returns a receiver of the items that are sent from now on.
    #[must_use]
    pub fn resubscribe(&self) -> Self {
        Self { inner: self.inner.resubscribe(), channel: self.channel.clone() }
    }

    fn receive(&self, received: &mut Result<WithContext<T>, RecvError>) {
        match received {
            Ok(item) => self.channel.receive(item),
            Err(RecvError::Lagged(missed)) => self.channel.count_dropped(*missed),
            Err(RecvError::Closed) => {}
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        match self.inner.len() {
            0 => {}
            left => self.channel.count_dropped(u64::try_from(left).unwrap_or(u64::MAX)),
        }
    }
}

debug!(Sender, WeakSender, Receiver);
