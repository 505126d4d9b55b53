//! tokio's `oneshot` channel, whose value carries the context in which it was sent.
//!
//! Follows the names and errors of [tokio's](https://docs.rs/tokio/latest/tokio/sync/oneshot/index.html).

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::{RecvError, TryRecvError};

use crate::channel::Channel;
use crate::envelope::WithContext;
use crate::outcome::TaskOutput;

/// Creates a channel for one value, as [`tokio::sync::oneshot::channel`] does.
pub fn channel<T>(channel: impl Into<Channel>) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = oneshot::channel();
    let channel = channel.into();
    (Sender { inner: sender, channel: channel.clone() }, Receiver { inner: receiver, channel })
}

/// The sending half.
#[derive(Debug)]
pub struct Sender<T> {
    inner: oneshot::Sender<WithContext<T>>,
    channel: Channel,
}

impl<T> Sender<T> {
    /// Sends the value with the context that is current.
    ///
    /// # Errors
    /// The value, if the receiver is closed.
    pub fn send(self, value: T) -> Result<(), T> {
        self.inner.send(self.channel.envelope(value)).map_err(WithContext::into_refused)
    }

    /// Waits until the receiver is closed.
    pub async fn closed(&mut self) {
        self.inner.closed().await;
    }

    /// Returns true if the receiver is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Polls for the receiver being closed.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_closed(cx)
    }
}

/// The receiving half: a future of the value. A value that is in it when it is dropped is counted as dropped.
#[derive(Debug)]
pub struct Receiver<T> {
    inner: oneshot::Receiver<WithContext<T>>,
    channel: Channel,
}

impl<T> Receiver<T> {
    /// Receives the value and runs a handler for it inside of a `process` span ([`Channel::process`]).
    ///
    /// # Errors
    /// tokio's error, if the sender was dropped.
    pub async fn process<F>(mut self, handler: impl FnOnce(T) -> F) -> Result<F::Output, RecvError>
    where
        F: Future<Output: TaskOutput>,
    {
        let item = (&mut self.inner).await?;
        Ok(self.channel.process(item, handler).await)
    }

    /// Receives the value without waiting.
    ///
    /// # Errors
    /// tokio's error, if there is none yet, or the sender was dropped.
    pub fn try_recv(&mut self) -> Result<WithContext<T>, TryRecvError> {
        let mut received = self.inner.try_recv();
        received.iter_mut().for_each(|item| self.channel.receive(item));
        received
    }

    /// Receives the value in synchronous code.
    ///
    /// # Errors
    /// tokio's error, if the sender was dropped.
    ///
    /// # Panics
    /// If it is called in asynchronous code.
    #[track_caller]
    pub fn blocking_recv(self) -> Result<WithContext<T>, RecvError> {
        let Self { inner, channel } = self;
        let mut received = inner.blocking_recv();
        received.iter_mut().for_each(|item| channel.receive(item));
        received
    }

    /// Returns true if there is no value to receive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Returns true if the value was received, or the error that the sender was dropped.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.inner.is_terminated()
    }

    /// Closes the channel. A value that was sent before can still be received.
    pub fn close(&mut self) {
        self.inner.close();
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<WithContext<T>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut polled = Pin::new(&mut self.inner).poll(cx);
        if let Poll::Ready(Ok(item)) = &mut polled {
            self.channel.receive(item);
        }
        polled
    }
}
