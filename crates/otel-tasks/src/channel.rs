//! A channel by its name: the envelopes of its items, the processing of received ones, and what is counted.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans", as far as they
//! concern parents and links, and `docs/conventions.md` for names.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::trace::{Link, SpanKind};
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, ParentMode, SpanStart, StartTime, catch_panic};
use otel_propagation::link_to;

use crate::attributes::{CHANNEL_BATCH_ITEM_COUNT, CHANNEL_BATCH_LINKS_LEFT_OUT, CHANNEL_NAME};
use crate::envelope::{QueueTime, WithContext};
use crate::future::TaskFuture;
use crate::instrumentation::TaskInstrumentation;
use crate::metrics::ChannelSeries;
use crate::operation::{TaskObserver, TaskOperation};
use crate::outcome::TaskOutput;

/// The maximum number of links of one span. The SDK's default limit is the same.
const MAX_LINKS: usize = 128;

/// A channel by its name. A string is one with the global instrumentation. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Channel(Arc<ChannelState>);

#[derive(Clone, Debug)]
struct ChannelState {
    name: Cow<'static, str>,
    span_name: Cow<'static, str>,
    instrumentation: TaskInstrumentation,
    /// `None` if the filter leaves the channel out.
    series: Option<Arc<ChannelSeries>>,
    parent_mode: ParentMode,
}

impl Channel {
    /// Describes the channel of this name, which must have low cardinality: spans and metrics have it.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self::with(name.into(), TaskInstrumentation::global())
    }

    fn with(name: Cow<'static, str>, instrumentation: &TaskInstrumentation) -> Self {
        let options = instrumentation.options();
        Self(Arc::new(ChannelState {
            span_name: otel_operation::intern(&format!("process {name}")),
            series: options.is_recorded(&name).then(|| instrumentation.channel_series(&name)),
            parent_mode: options.parent_mode,
            instrumentation: instrumentation.clone(),
            name,
        }))
    }

    /// Records with `instrumentation` instead of the global one, and takes its parent mode.
    #[must_use]
    pub fn with_instrumentation(self, instrumentation: &TaskInstrumentation) -> Self {
        Self::with(self.0.name.clone(), instrumentation)
    }

    /// Sets the parent of the spans that process the items of this channel. Default: the mode of the instrumentation's
    /// [`Options`](crate::Options).
    #[must_use]
    pub fn with_parent_mode(mut self, mode: ParentMode) -> Self {
        Arc::make_mut(&mut self.0).parent_mode = mode;
        self
    }

    /// Puts an item into an envelope with the context that is current now, and counts it in the depth of the channel until it
    /// is received. One that is dropped before is counted as dropped.
    #[must_use]
    pub fn envelope<T>(&self, value: T) -> WithContext<T> {
        WithContext::counted(value, self)
    }

    /// Runs a handler for a received item inside of a `process` span.
    ///
    /// The span links to the span in which the item was sent, and has it for a parent as the mode of the channel says.
    pub async fn process<T, F>(&self, item: WithContext<T>, handler: impl FnOnce(T) -> F) -> F::Output
    where
        F: Future<Output: TaskOutput>,
    {
        let (value, operation) = self.start(item);
        // The handler is called inside of the operation, because it may run code before it returns its future.
        TaskFuture::new(async move { handler(value).await }, operation, F::Output::outcome).await
    }

    /// Does the same as [`process`](Self::process) for a handler that blocks.
    pub fn process_sync<T, R: TaskOutput>(&self, item: WithContext<T>, handler: impl FnOnce(T) -> R) -> R {
        let (value, operation) = self.start(item);
        operation.run(|| handler(value), R::outcome)
    }

    /// Runs a handler for several items inside of one `process` span, which links to the spans of all of them. The first 128
    /// of them have links. The parent is the span that is current, in each mode.
    pub async fn process_batch<T, F>(
        &self,
        items: impl IntoIterator<Item = WithContext<T>>,
        handler: impl FnOnce(Vec<T>) -> F,
    ) -> F::Output
    where
        F: Future<Output: TaskOutput>,
    {
        let (values, operation) = self.start_batch(items);
        TaskFuture::new(async move { handler(values).await }, operation, F::Output::outcome).await
    }

    /// Counts items that other code than the wrappers of this crate has dropped, such as those that did not fit into a ring
    /// buffer. Nothing is counted in a scope that suppresses telemetry.
    pub fn count_dropped(&self, items: u64) {
        // Isolated, because the current context of a thread that ends is gone.
        let is_suppressed = || catch_panic(Context::is_current_telemetry_suppressed).unwrap_or(false);
        if let Some(series) = &self.0.series
            && !is_suppressed()
        {
            series.count_dropped(items);
        }
    }

    /// Puts an item of which each receiver gets a copy into an envelope. The depth does not count it.
    pub(crate) fn uncounted<T>(&self, value: T) -> WithContext<T> {
        match self.0.series.is_some() && !self.0.instrumentation.is_noop() {
            true => WithContext::new(value),
            false => WithContext::unmeasured(value),
        }
    }

    /// Counts an item in the depth, and reads the clock if anything is recorded of its time in the channel.
    #[inline]
    pub(crate) fn enter(&self) -> (QueueTime, QueueSlot) {
        let Some(series) = &self.0.series else { return (QueueTime::Unmeasured, QueueSlot::default()) };
        if series.add_depth(1) {
            return (QueueTime::now(), QueueSlot(Some(Arc::clone(series))));
        }
        match self.0.instrumentation.tracer().is_noop() {
            true => (QueueTime::Unmeasured, QueueSlot::default()),
            false => (QueueTime::now(), QueueSlot::default()),
        }
    }

    pub(crate) fn series(&self) -> Option<&ChannelSeries> {
        self.0.series.as_deref()
    }

    /// Marks an item as received, in place, because a move of an item costs as much as the rest of this.
    #[inline]
    pub(crate) fn receive<T>(&self, item: &mut WithContext<T>) {
        item.receive(self.series(), Instant::now);
    }

    /// Marks items as received at the same time.
    pub(crate) fn receive_all<T>(&self, items: &mut [WithContext<T>]) {
        let mut now = None;
        for item in items {
            item.receive(self.series(), || *now.get_or_insert_with(Instant::now));
        }
    }

    fn start<T>(&self, mut item: WithContext<T>) -> (T, TaskOperation) {
        let started = self.start_time();
        item.receive(self.series(), || started.map_or_else(Instant::now, |started| started.instant()));
        let queue_time = item.queue_time();
        let (value, sent) = item.into_parts();
        let current = Context::current();
        let parent = self.0.parent_mode.parent(&current, &sent);
        let links = || link_to(&sent, []).into_iter();
        let operation = self.start_span(started, &parent, queue_time, Vec::new, links);
        (value, operation)
    }

    fn start_batch<T>(&self, items: impl IntoIterator<Item = WithContext<T>>) -> (Vec<T>, TaskOperation) {
        let started = self.start_time();
        let received = items.into_iter().map(|mut item| {
            item.receive(self.series(), || started.map_or_else(Instant::now, |started| started.instant()));
            item.into_parts()
        });
        let (values, contexts): (Vec<T>, Vec<Context>) = received.unzip();
        let count = contexts.len();
        let attributes = || {
            let number = |key, number| KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX));
            let left_out = count.saturating_sub(MAX_LINKS);
            let left_out = (left_out > 0).then(|| number(CHANNEL_BATCH_LINKS_LEFT_OUT, left_out));
            std::iter::once(number(CHANNEL_BATCH_ITEM_COUNT, count)).chain(left_out).collect()
        };
        let links = || contexts.iter().take(MAX_LINKS).filter_map(|context| link_to(context, []));
        let operation = self.start_span(started, &Context::current(), None, attributes, links);
        (values, operation)
    }

    /// Reads the clocks for a span, unless the filter leaves the channel out, or no SDK is installed.
    fn start_time(&self) -> Option<StartTime> {
        let is_recorded = self.0.series.is_some() && !self.0.instrumentation.is_noop();
        is_recorded.then(StartTime::now)
    }

    fn start_span<L: Iterator<Item = Link>>(
        &self,
        started: Option<StartTime>,
        parent: &Context,
        queue_time: Option<f64>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
        links: impl FnOnce() -> L,
    ) -> TaskOperation {
        let (Some(series), Some(started)) = (&self.0.series, started) else {
            return TaskOperation::inert(parent.clone());
        };
        let instrumentation = &self.0.instrumentation;
        let describe = || {
            let start = SpanStart::new(self.0.span_name.clone(), SpanKind::Consumer, started.time)
                .with_sampler_attributes(instrumentation.options().sampler_attributes);
            links().fold(start, SpanStart::with_link)
        };
        let attributes = || {
            let mut list = attributes();
            list.push(KeyValue::new(CHANNEL_NAME, self.0.name.clone()));
            list
        };
        let observer = TaskObserver::item(Arc::clone(series), queue_time);
        let operation =
            Operation::start(instrumentation.tracer(), describe, parent, started, observer, attributes);
        TaskOperation::recorded(operation, started)
    }
}

impl From<&'static str> for Channel {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Channel {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// Guard: counts one item in the depth of its channel, unless it is empty. Dropped before it is [taken](Self::take), it counts
/// the item as dropped.
#[derive(Debug, Default)]
pub(crate) struct QueueSlot(Option<Arc<ChannelSeries>>);

impl QueueSlot {
    /// Empties the guard. Its count in the depth is then the caller's to end.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Arc<ChannelSeries>> {
        self.0.take()
    }
}

impl Drop for QueueSlot {
    #[inline]
    fn drop(&mut self) {
        if let Some(series) = self.0.take() {
            series.record_dropped();
        }
    }
}
