//! The envelope of an item in a channel: the item with the context in which it was sent.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Context propagation": the context
//! of the producer travels with the message.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use opentelemetry::Context;

use crate::channel::{Channel, QueueSlot};
use crate::metrics::ChannelSeries;

/// An item with the context in which it was sent, for any channel: of tokio, `futures`, `flume`, `std`. It dereferences to the
/// item.
///
/// [`Channel::process`] takes it and runs a handler in the context that the mode of the channel chooses. One that
/// [`Channel::envelope`] created is counted in the channel's depth until it is received.
#[derive(Debug)]
pub struct WithContext<T> {
    value: T,
    context: Context,
    time: QueueTime,
    slot: QueueSlot,
}

/// The time of an item in its channel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QueueTime {
    /// Nothing records it, so that no clock is read.
    Unmeasured,
    Since(Instant),
    /// In seconds. A `Duration` would make the item larger, because it does not fit beside the tag of an `Instant`.
    Measured(f64),
}

impl QueueTime {
    /// Reads the clock.
    #[inline]
    pub(crate) fn now() -> Self {
        Self::Since(Instant::now())
    }
}

impl<T> WithContext<T> {
    /// Puts an item into an envelope with the context that is current now.
    #[must_use]
    pub fn new(value: T) -> Self {
        let context = Context::current();
        let time = if context.is_telemetry_suppressed() { QueueTime::Unmeasured } else { QueueTime::now() };
        Self { value, context, time, slot: QueueSlot::default() }
    }

    /// Puts an item into an envelope whose time in the channel is not measured.
    pub(crate) fn unmeasured(value: T) -> Self {
        let (context, slot) = (Context::current(), QueueSlot::default());
        Self { value, context, time: QueueTime::Unmeasured, slot }
    }

    /// Counts the item in the depth of `channel`, unless telemetry is suppressed where it is sent.
    #[inline]
    pub(crate) fn counted(value: T, channel: &Channel) -> Self {
        let context = Context::current();
        let (time, slot) = match context.is_telemetry_suppressed() {
            true => (QueueTime::Unmeasured, QueueSlot::default()),
            false => channel.enter(),
        };
        Self { value, context, time, slot }
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
        self.receive(None, Instant::now);
        (self.value, self.context)
    }

    /// Marks the item as received from a channel with this series, at the first call. The channel that counted it takes
    /// precedence. `now` is called if its time in the channel is measured.
    #[inline]
    pub(crate) fn receive(&mut self, series: Option<&ChannelSeries>, now: impl FnOnce() -> Instant) {
        let slot = self.slot.take();
        let Some(series) = slot.as_deref().or(series) else { return };
        let queued = match self.time {
            QueueTime::Since(sent) => Some(now().saturating_duration_since(sent).as_secs_f64()),
            QueueTime::Unmeasured | QueueTime::Measured(_) => None,
        };
        if let Some(queued) = queued {
            self.time = QueueTime::Measured(queued);
        }
        series.record_received(slot.is_some(), queued);
    }

    /// Returns the time in the channel in seconds, once it was received.
    pub(crate) fn queue_time(&self) -> Option<f64> {
        match self.time {
            QueueTime::Measured(queued) => Some(queued),
            QueueTime::Unmeasured | QueueTime::Since(_) => None,
        }
    }

    /// Returns an item that its channel did not take. It counts neither as received nor as dropped.
    pub(crate) fn into_refused(mut self) -> T {
        if let Some(series) = self.slot.take() {
            series.add_depth(-1);
        }
        self.value
    }
}

/// A copy for another receiver. It is not counted in the depth of a channel, and neither is its drop.
impl<T: Clone> Clone for WithContext<T> {
    fn clone(&self) -> Self {
        let (value, context) = (self.value.clone(), self.context.clone());
        Self { value, context, time: self.time, slot: QueueSlot::default() }
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
