//! Sending: the calling thread, and the delivery reports.
//!
//! Both producers serve delivery reports in a separate thread. The benchmark blocks that thread and serves the reports
//! in the calling thread, in one batch after all messages, so that each run does the same work in the same order.
//! librdkafka's threads are not counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use benchmarks::allocations;
use benchmarks::measure::{ITERATIONS, Mode, counted_region, median};
use benchmarks::sdk::{self, Metrics};
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use rdkafka::ClientContext;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::FutureRecord;

use crate::cell::{self, Candidate, SPAN_ID, TRACE_ID, Variant, by_hand, caller, is_sampled, record};

/// Iterations before the measurement, so that handles are bound and tables have grown.
const WARM_UP: usize = 300;

/// The number of timed batches.
const BATCHES: usize = 7;

/// Returns a linger time longer than sending a batch, so that the broker receives one batch and responds once.
fn linger(mode: Mode) -> Duration {
    Duration::from_millis(if mode == Mode::Instructions { 1000 } else { 50 })
}

static HALTED: AtomicBool = AtomicBool::new(false);

/// A context that blocks the thread for delivery reports when that thread serves the first statistics.
pub(crate) struct Halting;

impl ClientContext for Halting {
    fn stats_raw(&self, _statistics: &[u8]) {
        if thread::current().name() == Some("producer polling thread") {
            HALTED.store(true, Ordering::SeqCst);
            loop {
                thread::park();
            }
        }
    }
}

/// A measured producer.
trait Sends {
    /// The future of the delivery report.
    type Report;

    /// Sends a record. Bare rdkafka writes these headers, the others those of the current context.
    fn send(&self, headers: Option<OwnedHeaders>) -> Self::Report;

    /// Serves the pending delivery reports.
    fn poll(&self);

    /// Returns `true` if the delivery report has arrived; panics if the delivery failed.
    fn is_delivered(report: &mut Self::Report) -> bool;
}

macro_rules! sends {
    ($producer:ty, $report:ty, $this:ident, $headers:ident, $send:expr, $bare:expr) => {
        impl Sends for $producer {
            type Report = $report;

            fn send(&self, $headers: Option<OwnedHeaders>) -> $report {
                let $this = self;
                $send
            }

            fn poll(&self) {
                let $this = self;
                $bare.poll(Duration::ZERO);
            }

            fn is_delivered(report: &mut $report) -> bool {
                match cell::poll(report) {
                    Poll::Pending => false,
                    Poll::Ready(Ok(Ok(_))) => true,
                    Poll::Ready(other) => panic!("{other:?}"),
                }
            }
        }
    };
}

fn sent<R, M>(result: Result<R, (rdkafka::error::KafkaError, M)>) -> R {
    result.unwrap_or_else(|(error, _)| panic!("{error}"))
}

sends!(
    rdkafka::producer::FutureProducer<Halting>,
    rdkafka::producer::DeliveryFuture,
    this,
    headers,
    sent(this.send_result(FutureRecord { headers, ..record() })),
    this
);
sends!(
    otel_kafka::FutureProducer<Halting>,
    otel_kafka::DeliveryFuture,
    this,
    _headers,
    sent(this.send_result(record())),
    this
);
#[cfg(feature = "comparison")]
sends!(crate::floor::Sender, rdkafka::producer::DeliveryFuture, this, _headers, this.send(), this.producer);

pub(crate) fn measure(candidate: Candidate, variant: Variant, mode: Mode, metrics: &Option<Metrics>) {
    let mut config = cell::cluster();
    config
        .set("linger.ms", linger(mode).as_millis().to_string())
        .set("statistics.interval.ms", "500")
        // One batch has all 1,000 messages.
        .set("batch.size", "10000000");
    match candidate {
        Candidate::Bare => {
            let producer: rdkafka::producer::FutureProducer<Halting> =
                config.create_with_context(Halting).expect("the configuration is right");
            run(candidate, variant, mode, metrics, producer);
        }
        #[cfg(feature = "comparison")]
        Candidate::Floor => {
            let producer = config.create_with_context(Halting).expect("the configuration is right");
            run(candidate, variant, mode, metrics, crate::floor::Sender::new(producer));
        }
        #[cfg(not(feature = "comparison"))]
        Candidate::Floor => {}
        Candidate::Ours => {
            let producer: otel_kafka::FutureProducer<Halting> =
                config.create_with_context(Halting).expect("the configuration is right");
            run(candidate, variant, mode, metrics, producer);
        }
    }
}

fn run<S: Sends>(candidate: Candidate, variant: Variant, mode: Mode, metrics: &Option<Metrics>, producer: S) {
    while !HALTED.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
    let by_hand = candidate == Candidate::Bare && variant != Variant::Nothing;
    let mut batch = Batch { producer: &producer, variant, by_hand, linger: linger(mode), counts: false };
    check(candidate, variant, metrics, &batch);
    batch.send(WARM_UP);
    batch.counts = true;
    let first = batch.send(ITERATIONS);
    if mode == Mode::Native {
        println!("allocations {}", first.allocations as f64 / ITERATIONS as f64);
        let mut batches: Vec<_> =
            (0..BATCHES).map(|_| batch.send(ITERATIONS).took.as_nanos() as f64 / ITERATIONS as f64).collect();
        println!("nanoseconds {}", median(&mut batches));
    }
    // Not dropped, because dropping it would wait for the blocked thread.
    std::mem::forget(producer);
}

struct Batch<'a, S> {
    producer: &'a S,
    variant: Variant,
    /// True if each record gets a `traceparent` written by hand.
    by_hand: bool,
    linger: Duration,
    counts: bool,
}

#[derive(Default)]
struct Cost {
    allocations: u64,
    took: Duration,
}

impl<S: Sends> Batch<'_, S> {
    /// Sends the messages and serves their delivery reports.
    fn send(&self, messages: usize) -> Cost {
        let mut cost = Cost::default();
        let mut reports = Vec::with_capacity(messages);
        for number in 0..messages {
            let sampled = is_sampled(self.variant, number);
            let _current = caller(sampled).attach();
            self.part(&mut cost, &mut || {
                let headers = self.by_hand.then(|| by_hand(sampled));
                reports.push(self.producer.send(headers));
            });
        }
        thread::sleep(self.linger);
        while !reports.is_empty() {
            thread::sleep(Duration::from_millis(20));
            self.part(&mut cost, &mut || self.producer.poll());
            reports.retain_mut(|report| !S::is_delivered(report));
        }
        cost
    }

    fn part(&self, cost: &mut Cost, work: &mut impl FnMut()) {
        let (allocations, started) = (allocations::count(), Instant::now());
        if self.counts {
            counted_region(&mut |()| work(), ());
        } else {
            work();
        }
        cost.took += started.elapsed();
        cost.allocations += allocations::count() - allocations;
    }
}

/// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
fn check<S: Sends>(candidate: Candidate, variant: Variant, metrics: &Option<Metrics>, batch: &Batch<'_, S>) {
    let spans = sdk::spans_of(|| {
        batch.send(1);
    });
    let recorded = cell::is_recorded(candidate, variant);
    assert_eq!(spans.len(), if recorded { variant.spans() } else { 0 }, "{spans:?}");
    for span in &spans {
        assert_eq!((&*span.name, &span.span_kind), ("send orders", &SpanKind::Producer));
        assert_eq!(span.span_context.trace_id(), TraceId::from(TRACE_ID));
        assert_eq!(span.parent_span_id, SpanId::from(SPAN_ID));
        let attributes = sdk::texts(span.attributes.iter());
        // The floor ends its span before the offset is known.
        let is_expected = |name: &&str| candidate == Candidate::Ours || *name != "messaging.kafka.offset=0";
        for expected in [
            "messaging.client.id=till-3",
            "messaging.destination.name=orders",
            "messaging.destination.partition.id=0",
            "messaging.kafka.message.key=order-7",
            "messaging.kafka.offset=0",
            "messaging.operation.name=send",
            "messaging.operation.type=send",
            "messaging.system=kafka",
            "server.address=127.0.0.1",
        ]
        .into_iter()
        .filter(is_expected)
        {
            assert!(attributes.iter().any(|kv| kv == expected), "missing {expected} in {attributes:?}");
        }
    }
    for name in ["messaging.client.operation.duration", "messaging.client.sent.messages"] {
        assert_eq!(cell::counted(metrics, name), f64::from(u8::from(recorded)), "{name}");
    }
}
