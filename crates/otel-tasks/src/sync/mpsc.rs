//! tokio's `mpsc` channels, whose items carry the context in which they were sent.
//!
//! Follows the names and errors of [tokio's](https://docs.rs/tokio/latest/tokio/sync/mpsc/index.html). A received item is a
//! [`WithContext`](crate::WithContext); [`Receiver::process`] receives one and runs a handler for it.

mod bounded;
mod permit;
mod unbounded;

pub use self::bounded::{Receiver, Sender, WeakSender};
pub use self::permit::{OwnedPermit, Permit, PermitIterator};
pub use self::unbounded::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender};

use crate::channel::Channel;

/// Creates a bounded channel for `buffer` items, as [`tokio::sync::mpsc::channel`] does.
///
/// # Panics
/// If `buffer` is 0 or greater than tokio's limit.
#[track_caller]
pub fn channel<T>(channel: impl Into<Channel>, buffer: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(buffer);
    let channel = channel.into();
    (Sender::new(sender, channel.clone()), Receiver::new(receiver, channel))
}

/// Creates a channel without a bound, as [`tokio::sync::mpsc::unbounded_channel`] does.
pub fn unbounded_channel<T>(channel: impl Into<Channel>) -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let channel = channel.into();
    (UnboundedSender::new(sender, channel.clone()), UnboundedReceiver::new(receiver, channel))
}

/// The methods that both receivers have.
macro_rules! receiver {
    ($receiver:ident, $inner:ident) => {
        impl<T> $receiver<T> {
            pub(super) fn new(inner: mpsc::$inner<WithContext<T>>, channel: Channel) -> Self {
                Self { inner, channel }
            }

            /// Returns the channel, for [`Channel::process`] of an item that was received before.
            #[must_use]
            pub fn channel(&self) -> &Channel {
                &self.channel
            }

            /// Receives an item. Cancel safe.
            pub async fn recv(&mut self) -> Option<WithContext<T>> {
                let mut received = self.inner.recv().await;
                received.iter_mut().for_each(|item| self.channel.receive(item));
                received
            }

            /// Receives an item and runs a handler for it inside of a `process` span ([`Channel::process`]). Returns `None` once
            /// the channel is closed and empty.
            pub async fn process<F>(&mut self, handler: impl FnOnce(T) -> F) -> Option<F::Output>
            where
                F: Future<Output: TaskOutput>,
            {
                // Marked as received by `process`, which reads the clock anyway.
                let item = self.inner.recv().await?;
                Some(self.channel.process(item, handler).await)
            }

            /// Receives up to `limit` items and appends them to `buffer`. Returns their number; 0 once the channel is closed
            /// and empty. Cancel safe.
            pub async fn recv_many(&mut self, buffer: &mut Vec<WithContext<T>>, limit: usize) -> usize {
                let before = buffer.len();
                let received = self.inner.recv_many(buffer, limit).await;
                self.channel.receive_all(&mut buffer[before..]);
                received
            }

            /// Receives an item without waiting.
            ///
            /// # Errors
            /// tokio's error, if the channel is empty, or closed as well.
            pub fn try_recv(&mut self) -> Result<WithContext<T>, TryRecvError> {
                let mut received = self.inner.try_recv();
                received.iter_mut().for_each(|item| self.channel.receive(item));
                received
            }

            /// Receives an item in synchronous code.
            ///
            /// # Panics
            /// If it is called in asynchronous code.
            #[track_caller]
            pub fn blocking_recv(&mut self) -> Option<WithContext<T>> {
                let mut received = self.inner.blocking_recv();
                received.iter_mut().for_each(|item| self.channel.receive(item));
                received
            }

            /// Receives up to `limit` items in synchronous code and appends them to `buffer`. Returns their number; 0 once the
            /// channel is closed and empty.
            ///
            /// # Panics
            /// If it is called in asynchronous code.
            #[track_caller]
            pub fn blocking_recv_many(&mut self, buffer: &mut Vec<WithContext<T>>, limit: usize) -> usize {
                let before = buffer.len();
                let received = self.inner.blocking_recv_many(buffer, limit);
                self.channel.receive_all(&mut buffer[before..]);
                received
            }

            /// Polls for up to `limit` items, which are appended to `buffer`, and returns their number.
            pub fn poll_recv_many(
                &mut self,
                cx: &mut Context<'_>,
                buffer: &mut Vec<WithContext<T>>,
                limit: usize,
            ) -> Poll<usize> {
                let before = buffer.len();
                let received = self.inner.poll_recv_many(cx, buffer, limit);
                self.channel.receive_all(&mut buffer[before..]);
                received
            }

            /// Polls for an item.
            pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<WithContext<T>>> {
                let mut received = self.inner.poll_recv(cx);
                if let Poll::Ready(Some(item)) = &mut received {
                    self.channel.receive(item);
                }
                received
            }

            /// Closes the channel. Items that are in it can still be received.
            pub fn close(&mut self) {
                self.inner.close();
            }

            /// Returns true if the channel is closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.inner.is_closed()
            }

            /// Returns true if there is no item in the channel.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.inner.is_empty()
            }

            /// Returns the number of items in the channel.
            #[must_use]
            pub fn len(&self) -> usize {
                self.inner.len()
            }

            /// Returns the number of senders.
            #[must_use]
            pub fn sender_strong_count(&self) -> usize {
                self.inner.sender_strong_count()
            }

            /// Returns the number of senders that do not keep the channel open.
            #[must_use]
            pub fn sender_weak_count(&self) -> usize {
                self.inner.sender_weak_count()
            }
        }
    };
}
use receiver;
