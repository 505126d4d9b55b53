//! The metrics of channels. Their only attributes are the channel's name and `error.type`.
//!
//! Follows `docs/conventions.md`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use otel_operation::{
    AttributedCounter, AttributedHistogram, AttributedUpDownCounter, DURATION_BOUNDARIES, LazyInstruments,
    Outcome, catch_panic,
};

use super::{DurationSeries, WAIT_BOUNDARIES, seconds};
use crate::attributes::{
    CHANNEL_DROPPED_ITEMS, CHANNEL_NAME, CHANNEL_PROCESS_DURATION, CHANNEL_QUEUE_DEPTH,
    CHANNEL_QUEUE_DURATION,
};

#[derive(Debug)]
pub(crate) struct ChannelInstruments {
    process_duration: Histogram<f64>,
    queue_duration: Histogram<f64>,
    queue_depth: UpDownCounter<i64>,
    dropped: Counter<u64>,
}

impl ChannelInstruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let depth = meter.i64_up_down_counter(CHANNEL_QUEUE_DEPTH).with_unit("{item}");
        let dropped = meter.u64_counter(CHANNEL_DROPPED_ITEMS).with_unit("{item}");
        Self {
            process_duration: seconds(
                meter,
                CHANNEL_PROCESS_DURATION,
                "Duration of the processing of items.",
                &DURATION_BOUNDARIES,
            ),
            queue_duration: seconds(
                meter,
                CHANNEL_QUEUE_DURATION,
                "Time of items in their channel.",
                &WAIT_BOUNDARIES,
            ),
            queue_depth: depth.with_description("Items in a channel.").build(),
            dropped: dropped.with_description("Items that were dropped before they were received.").build(),
        }
    }
}

/// The metrics of the channels of one name. A panic of the SDK costs the measurement alone.
#[derive(Debug)]
pub(crate) struct ChannelSeries {
    instruments: Arc<LazyInstruments<ChannelInstruments>>,
    name: KeyValue,
    process: DurationSeries,
    queue: OnceLock<AttributedHistogram<f64>>,
    depth: OnceLock<AttributedUpDownCounter>,
    dropped: OnceLock<AttributedCounter>,
}

impl ChannelSeries {
    pub(crate) fn new(instruments: &Arc<LazyInstruments<ChannelInstruments>>, name: &str) -> Self {
        Self {
            instruments: Arc::clone(instruments),
            name: KeyValue::new(CHANNEL_NAME, name.to_owned()),
            process: DurationSeries::default(),
            queue: OnceLock::new(),
            depth: OnceLock::new(),
            dropped: OnceLock::new(),
        }
    }

    /// Returns true if the item was counted, which it is once a meter provider is installed.
    #[inline]
    pub(crate) fn add_depth(&self, delta: i64) -> bool {
        catch_panic(|| self.depth().map(|depth| depth.add(delta))).flatten().is_some()
    }

    /// Records an item that was received: the end of its count in the depth if it was counted, and its time in the channel, in
    /// seconds, if that was measured.
    #[inline]
    pub(crate) fn record_received(&self, is_counted: bool, queued: Option<f64>) {
        if !is_counted && queued.is_none() {
            return;
        }
        catch_panic(|| {
            if let (true, Some(depth)) = (is_counted, self.depth()) {
                depth.add(-1);
            }
            if let (Some(queued), Some(series)) = (queued, self.queue()) {
                series.record(queued);
            }
        });
    }

    /// Records an item that was counted in the depth and dropped before it was received.
    #[cold]
    pub(crate) fn record_dropped(&self) {
        self.add_depth(-1);
        self.count_dropped(1);
    }

    pub(crate) fn count_dropped(&self, items: u64) {
        catch_panic(|| {
            if let Some(instruments) = self.instruments.get() {
                let series = || AttributedCounter::new(&instruments.dropped, vec![self.name.clone()]);
                self.dropped.get_or_init(series).add(items);
            }
        });
    }

    #[inline]
    fn depth(&self) -> Option<&AttributedUpDownCounter> {
        self.depth.get().or_else(|| {
            let instrument = &self.instruments.get()?.queue_depth;
            let series = || AttributedUpDownCounter::new(instrument, vec![self.name.clone()]);
            Some(self.depth.get_or_init(series))
        })
    }

    #[inline]
    fn queue(&self) -> Option<&AttributedHistogram<f64>> {
        self.queue.get().or_else(|| {
            let instrument = &self.instruments.get()?.queue_duration;
            let series = || AttributedHistogram::new(instrument, vec![self.name.clone()]);
            Some(self.queue.get_or_init(series))
        })
    }

    pub(crate) fn record_process_duration(&self, outcome: &Outcome, elapsed: Duration) {
        if let Some(instruments) = self.instruments.get() {
            self.process.record(&instruments.process_duration, &self.name, outcome, elapsed);
        }
    }
}
