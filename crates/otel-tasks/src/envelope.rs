//! The envelope of an item in a channel: the item with the context in which it was sent.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Context propagation": the context
//! of the producer travels with the message.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use opentelemetry::Context;

use crate::channel::{Channel, QueueSlot};

/// An item with the context in which it was sent, for any channel: of tokio, `futures`, `flume`, `std`. It dereferences to the
/// item.
///
/// [`Channel::process`] takes it and runs a handler in the context that the mode of the channel chooses. One that
/// [`Channel::envelope`] created is counted in the channel's depth until it is received.
#[derive(Debug)]
pub struct WithContext<T> {
    value: T,
    context: Context,
    sent: Instant,
    queue_time: Option<Duration>,
    slot: Option<QueueSlot>,
}

impl<T> WithContext<T> {
    /// Puts an item into an envelope with the context that is current now.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self::with_slot(value, None)
    }

    pub(crate) fn with_slot(value: T, slot: Option<QueueSlot>) -> Self {
        Self { value, context: Context::current(), sent: Instant::now(), queue_time: None, slot }
    }

    /// Returns the context in which the item was sent.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the item. It counts as received.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.into_parts().0
    }

    /// Returns the item and the context in which it was sent. It counts as received.
    #[must_use]
    pub fn into_parts(mut self) -> (T, Context) {
        self.receive(None);
        (self.value, self.context)
    }

    /// Marks the item as received from `channel`, at the first call. The channel that counted it takes precedence.
    pub(crate) fn receive(&mut self, channel: Option<&Channel>) {
        let slot = self.slot.take();
        let channel = slot.as_ref().map(QueueSlot::channel).or(channel);
        if let (Some(channel), None) = (channel, self.queue_time) {
            let queue_time = self.sent.elapsed();
            self.queue_time = Some(queue_time);
            channel.record_queue_time(queue_time);
        }
        if let Some(slot) = slot {
            slot.release();
        }
    }

    /// Returns the time in the channel, once it was received.
    pub(crate) fn queue_time(&self) -> Option<Duration> {
        self.queue_time
    }

    /// Returns an item that its channel did not take. It counts neither as received nor as dropped.
    pub(crate) fn into_refused(self) -> T {
        if let Some(slot) = self.slot {
            slot.release();
        }
        self.value
    }
}

impl<T> Deref for WithContext<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for WithContext<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
