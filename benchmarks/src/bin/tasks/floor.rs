//! A minimal handwritten instrumentation with the SDK: a span around a function, and a channel whose items carry the context,
//! with bound metrics. Panics and drops are not handled.

use std::hint::black_box;
use std::time::Instant;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use tokio::sync::mpsc;

/// Runs the function's work inside of a span.
pub(crate) fn function(tracer: &BoxedTracer) -> u64 {
    let parent = Context::current();
    let builder = tracer.span_builder("work").with_kind(SpanKind::Internal);
    let context = parent.with_span(tracer.build_with_context(builder, &parent));
    let _attached = context.clone().attach();
    let output = black_box(5);
    context.span().end();
    output
}

/// A channel whose items carry the context, with its depth and the time of its items as metrics.
pub(crate) struct Channel {
    sender: mpsc::Sender<(u64, Context, Instant)>,
    receiver: mpsc::Receiver<(u64, Context, Instant)>,
    depth: BoundUpDownCounter<i64>,
    queue: BoundHistogram<f64>,
}

impl Channel {
    pub(crate) fn new(buffer: usize) -> Self {
        let (sender, receiver) = mpsc::channel(buffer);
        let (meter, attributes) = (global::meter("floor"), [KeyValue::new("channel.name", "items")]);
        Self {
            sender,
            receiver,
            depth: meter.i64_up_down_counter("channel.queue.depth").build().bind(&attributes),
            queue: meter.f64_histogram("channel.queue.duration").with_unit("s").build().bind(&attributes),
        }
    }

    pub(crate) fn send(&self, item: u64) {
        self.depth.add(1);
        self.sender.try_send((item, Context::current(), Instant::now())).expect("the channel has room");
    }

    pub(crate) fn receive(&mut self) -> (u64, Context) {
        let (item, context, sent) = self.receiver.try_recv().expect("the channel has an item");
        self.queue.record(sent.elapsed().as_secs_f64());
        self.depth.add(-1);
        (item, context)
    }
}

/// A channel whose items carry the time of their send, with their time in the channel as the only metric: what two reads of the
/// clock and one measurement cost.
pub(crate) struct TimedChannel {
    sender: mpsc::Sender<(u64, Instant)>,
    receiver: mpsc::Receiver<(u64, Instant)>,
    queue: BoundHistogram<f64>,
}

impl TimedChannel {
    pub(crate) fn new(buffer: usize) -> Self {
        let (sender, receiver) = mpsc::channel(buffer);
        let histogram = global::meter("floor").f64_histogram("channel.queue.duration").with_unit("s").build();
        Self { sender, receiver, queue: histogram.bind(&[KeyValue::new("channel.name", "items")]) }
    }

    pub(crate) fn send(&self, item: u64) {
        self.sender.try_send((item, Instant::now())).expect("the channel has room");
    }

    pub(crate) fn receive(&mut self) -> u64 {
        let (item, sent) = self.receiver.try_recv().expect("the channel has an item");
        self.queue.record(sent.elapsed().as_secs_f64());
        item
    }
}
