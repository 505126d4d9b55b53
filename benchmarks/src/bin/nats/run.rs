//! The measurement of one cell on a real server. Only the calling thread is counted: the connections run on another one.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use benchmarks::allocations;
use benchmarks::measure::{ITERATIONS, Mode, counted_region, median};
use benchmarks::sdk::{self, Metrics};
use bytes::Bytes;
use futures_util::StreamExt as _;
use opentelemetry::trace::{SpanId, TraceId};
use tokio::runtime::Runtime;

use crate::cell::{Candidate, SPAN_ID, Side, TRACE_ID, Variant, caller};
use crate::client::{Measured, SUBJECT, headers};

/// The variable with the address of a server.
pub(crate) const URL: &str = "NATS_URL";

/// Iterations before the measurement, so that handles are bound and tables have grown.
const WARM_UP: usize = 300;

/// The number of timed batches.
const BATCHES: usize = 11;

/// The timeout of a message, long enough for valgrind.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time in which a subscription reaches the server, and all messages the queue of the subscription.
const ARRIVAL: Duration = Duration::from_secs(2);

pub(crate) fn measure(
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<&Metrics>,
) {
    let url = std::env::var(URL).unwrap_or_else(|_| panic!("{URL} is not set"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    let _entered = runtime.enter();
    let bare = runtime.block_on(async_nats::connect(&url)).expect("the server answers");
    let run = Run { runtime: &runtime, bare: &bare, side, candidate, variant, mode, metrics };
    match candidate {
        Candidate::Bare => run.run(&runtime.block_on(async_nats::connect(&url)).expect("the server answers")),
        Candidate::Ours => run.run(&runtime.block_on(otel_nats::connect(&url)).expect("the server answers")),
        #[cfg(feature = "comparison")]
        Candidate::Floor => {
            let client = runtime.block_on(async_nats::connect(&url)).expect("the server answers");
            let address: async_nats::ServerAddr = url.parse().expect("the address is valid");
            run.run(&crate::floor::Floor::new(client, (address.host().to_owned(), address.port())));
        }
        #[cfg(not(feature = "comparison"))]
        Candidate::Floor => {}
    }
}

struct Run<'a> {
    runtime: &'a Runtime,
    /// Answers requests, and writes the messages to process.
    bare: &'a async_nats::Client,
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<&'a Metrics>,
}

#[derive(Default)]
struct Cost {
    allocations: u64,
    took: Duration,
}

/// Notes that the future can be polled.
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Run<'_> {
    fn run<M: Measured>(&self, client: &M) {
        match self.side {
            Side::Publish => {
                self.measure(|counts| self.call(counts, client.publish(self.variant, payload())))
            }
            Side::Request => {
                let mut requests = self.runtime.block_on(async {
                    let requests = self.bare.subscribe(SUBJECT).await.expect("the subscription is sent");
                    self.bare.flush().await.expect("the server has the subscription");
                    requests
                });
                // The server has the subscription before another connection sends a request.
                thread::sleep(ARRIVAL);
                let answering = self.bare.clone();
                self.runtime.spawn(async move {
                    while let Some(request) = requests.next().await {
                        if let Some(reply) = request.reply {
                            answering.publish(reply, Bytes::new()).await.expect("the reply is queued");
                        }
                    }
                });
                self.measure(|counts| self.call(counts, client.request(self.variant, payload())));
            }
            Side::Process => {
                let mut subscriber = self.runtime.block_on(client.subscribe(SUBJECT.to_owned()));
                thread::sleep(ARRIVAL);
                self.runtime.block_on(self.write(1 + WARM_UP + ITERATIONS * self.batches()));
                // All messages are in the queue of the subscription before the first is counted.
                thread::sleep(ARRIVAL);
                self.measure(|counts| self.call(counts, client.process(&mut subscriber)));
            }
        }
    }

    async fn write(&self, messages: usize) {
        for _ in 0..messages {
            let sent = match headers(self.variant) {
                Some(headers) => self.bare.publish_with_headers(SUBJECT, headers, payload()).await,
                None => self.bare.publish(SUBJECT, payload()).await,
            };
            sent.expect("the message is queued");
        }
        self.bare.flush().await.expect("the messages are sent");
    }

    fn batches(&self) -> usize {
        if self.mode == Mode::Native { BATCHES } else { 1 }
    }

    fn measure(&self, mut one: impl FnMut(bool) -> Cost) {
        let spans = sdk::spans_of(|| {
            one(false);
        });
        self.check(&spans);
        for _ in 0..WARM_UP {
            one(false);
        }
        let costs: Vec<Cost> = (0..self.batches())
            .map(|_| {
                (0..ITERATIONS).fold(Cost::default(), |sum, _| {
                    let cost = one(true);
                    Cost { allocations: sum.allocations + cost.allocations, took: sum.took + cost.took }
                })
            })
            .collect();
        if self.mode == Mode::Native {
            println!("allocations {}", costs[0].allocations as f64 / ITERATIONS as f64);
            let mut times: Vec<_> =
                costs.iter().map(|cost| cost.took.as_nanos() as f64 / ITERATIONS as f64).collect();
            println!("nanoseconds {}", median(&mut times));
        }
    }

    /// Runs a future on this thread. Its polls are counted, and the time between them is not.
    fn call(&self, counts: bool, future: impl Future<Output = ()>) -> Cost {
        let _current = caller(self.variant).attach();
        let ready = Arc::new(Ready(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&ready));
        let (mut cost, mut future, began) = (Cost::default(), pin!(future), Instant::now());
        loop {
            if !ready.0.swap(false, Ordering::SeqCst) {
                assert!(began.elapsed() < PATIENCE, "the future is not woken");
                thread::sleep(Duration::from_micros(20));
                continue;
            }
            let mut polled = Poll::Pending;
            let mut poll = |()| polled = future.as_mut().poll(&mut TaskContext::from_waker(&waker));
            let (allocations, started) = (allocations::count(), Instant::now());
            if counts {
                counted_region(&mut poll, ());
            } else {
                poll(());
            }
            cost.took += started.elapsed();
            cost.allocations += allocations::count() - allocations;
            if polled.is_ready() {
                return cost;
            }
        }
    }

    /// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
    fn check(&self, spans: &[opentelemetry_sdk::trace::SpanData]) {
        let Some(metrics) = self.metrics else { return };
        let is_instrumented = self.candidate != Candidate::Bare;
        let expected = usize::from(is_instrumented && self.variant == Variant::Sampled);
        assert_eq!(spans.len(), expected, "{spans:?}");
        let operation = self.side.name();
        for span in spans {
            assert_eq!(span.name, format!("{operation} {SUBJECT}"));
            assert_eq!(span.span_context.trace_id(), TraceId::from(TRACE_ID));
            assert_eq!(span.parent_span_id, SpanId::from(SPAN_ID));
            let attributes = sdk::texts(span.attributes.iter());
            for name in ["system", "operation.name", "operation.type", "destination.name"] {
                let expected = format!("messaging.{name}=");
                assert!(attributes.iter().any(|kv| kv.starts_with(&expected)), "no {name} in {attributes:?}");
            }
            assert!(attributes.iter().any(|kv| kv.starts_with("server.port=")), "{attributes:?}");
        }
        let names = match self.side {
            Side::Process => ["messaging.process.duration", "messaging.client.consumed.messages"],
            _ => ["messaging.client.operation.duration", "messaging.client.sent.messages"],
        };
        for name in names {
            let points = metrics.points();
            let value: f64 = points.iter().filter(|point| point.name == name).map(|point| point.value).sum();
            assert_eq!(value, f64::from(u8::from(is_instrumented)), "{name}");
        }
    }
}

fn payload() -> Bytes {
    Bytes::from_static(&[b'x'; 100])
}
