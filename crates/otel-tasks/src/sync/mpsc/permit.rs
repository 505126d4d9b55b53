//! The permits of a bounded channel.
//!
//! Follows the names of [tokio's](https://docs.rs/tokio/latest/tokio/sync/mpsc/struct.Permit.html).

use std::iter::FusedIterator;

use tokio::sync::mpsc;

use super::Sender;
use crate::channel::Channel;
use crate::envelope::WithContext;

/// The capacity for one item.
pub struct Permit<'a, T> {
    inner: mpsc::Permit<'a, WithContext<T>>,
    channel: &'a Channel,
}

impl<'a, T> Permit<'a, T> {
    pub(super) fn new(inner: mpsc::Permit<'a, WithContext<T>>, channel: &'a Channel) -> Self {
        Self { inner, channel }
    }

    /// Sends an item with the context that is current.
    pub fn send(self, value: T) {
        self.inner.send(self.channel.envelope(value));
    }
}

/// The capacity for several items, as permits for one each.
pub struct PermitIterator<'a, T> {
    inner: mpsc::PermitIterator<'a, WithContext<T>>,
    channel: &'a Channel,
}

impl<'a, T> PermitIterator<'a, T> {
    pub(super) fn new(inner: mpsc::PermitIterator<'a, WithContext<T>>, channel: &'a Channel) -> Self {
        Self { inner, channel }
    }
}

impl<'a, T> Iterator for PermitIterator<'a, T> {
    type Item = Permit<'a, T>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(Permit::new(self.inner.next()?, self.channel))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<T> ExactSizeIterator for PermitIterator<'_, T> {}
impl<T> FusedIterator for PermitIterator<'_, T> {}

/// The capacity for one item, with the sender that it came from.
pub struct OwnedPermit<T> {
    inner: mpsc::OwnedPermit<WithContext<T>>,
    channel: Channel,
}

impl<T> OwnedPermit<T> {
    pub(super) fn new(inner: mpsc::OwnedPermit<WithContext<T>>, channel: Channel) -> Self {
        Self { inner, channel }
    }

    /// Sends an item with the context that is current, and returns the sender.
    pub fn send(self, value: T) -> Sender<T> {
        let Self { inner, channel } = self;
        Sender::new(inner.send(channel.envelope(value)), channel)
    }

    /// Gives the capacity back, and returns the sender.
    #[must_use]
    pub fn release(self) -> Sender<T> {
        Sender::new(self.inner.release(), self.channel)
    }

    /// Returns true if both permits belong to the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        self.inner.same_channel(&other.inner)
    }

    /// Returns true if the permit and the sender belong to the same channel.
    #[must_use]
    pub fn same_channel_as_sender(&self, sender: &Sender<T>) -> bool {
        self.inner.same_channel_as_sender(&sender.inner)
    }
}

debug!(Permit<'_>, PermitIterator<'_>, OwnedPermit);
