//! The measurement of messages on a real broker: the parent of a message, polls on the calling thread, and the expected
//! telemetry.

#[cfg(feature = "comparison")]
mod report;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::SpanData;

use crate::allocations;
use crate::measure::{ITERATIONS, Mode, counted_region, median};
use crate::named;
use crate::sdk::{self, Metrics};

#[cfg(feature = "comparison")]
pub use crate::messages::report::Tables;

const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN_ID: u64 = 0x00f0_67aa_0ba9_02b7;
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Iterations before the measurement, so that handles are bound and tables have grown.
const WARM_UP: usize = 300;

/// The number of timed batches.
const BATCHES: usize = 11;

/// The timeout of a message, long enough for valgrind.
const PATIENCE: Duration = Duration::from_secs(60);

named! {
    /// The measured client.
    pub Candidate {
        /// The broker's client, with a header written by hand.
        Bare = "bare",
        /// A minimal instrumentation written by hand.
        Floor = "floor",
        /// The client of our crate.
        Ours = "ours",
    }
}

named! {
    /// The sampling of the parent: the current context when sending, the producer's context when processing.
    pub Variant {
        /// The parent is not sampled.
        Unsampled = "unsampled",
        /// The parent is not sampled, and the sampler and the propagator are declared, as otel-telemetry does.
        Declared = "declared",
        /// The parent is sampled.
        Sampled = "sampled",
        /// No provider and no propagator is installed. The bare client writes no header.
        Nothing = "nothing",
    }
}

/// Parses the names of a cell that exists: the floor needs the SDK, and its metrics a feature.
pub fn parse(candidate: &str, variant: &str) -> Option<(Candidate, Variant)> {
    let (candidate, variant) = (Candidate::parse(candidate)?, Variant::parse(variant)?);
    let exists = variant.has_floor() && cfg!(feature = "comparison");
    (candidate != Candidate::Floor || exists).then_some((candidate, variant))
}

impl Variant {
    /// Returns false without an SDK, and where the floor would take the same as with another variant.
    pub fn has_floor(self) -> bool {
        !matches!(self, Self::Declared | Self::Nothing)
    }

    /// Installs the global providers and the propagator, which the clients of the brokers do not use.
    pub fn install(self) -> Option<Metrics> {
        if self == Self::Nothing {
            return None;
        }
        let formats = otel_propagation::CompositePropagator::empty();
        let formats = formats.with_trace_context(otel_propagation::TraceContextPropagator::new());
        otel_propagation::set_global(formats);
        if self == Self::Declared {
            sdk::declare();
        }
        sdk::install_traces();
        Some(sdk::install_metrics())
    }

    /// Creates the context in which a message is sent.
    pub fn caller(self) -> Context {
        if self == Self::Nothing {
            return Context::new();
        }
        let flags = TraceFlags::default().with_sampled(self == Self::Sampled);
        let (trace, span) = (TraceId::from(TRACE_ID), SpanId::from(SPAN_ID));
        Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::NONE))
    }

    /// Returns its name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unsampled => "not sampled",
            Self::Declared => "not sampled, declared",
            Self::Sampled => "sampled",
            Self::Nothing => "nothing installed",
        }
    }

    /// Returns the `traceparent` that is written by hand.
    pub fn by_hand(self) -> Option<&'static str> {
        match self {
            Self::Unsampled | Self::Declared => Some(UNSAMPLED),
            Self::Sampled => Some(SAMPLED),
            Self::Nothing => None,
        }
    }
}

/// Returns the number of messages that a measurement takes.
pub fn total(mode: Mode) -> usize {
    1 + WARM_UP + ITERATIONS * batches(mode)
}

fn batches(mode: Mode) -> usize {
    if mode == Mode::Native { BATCHES } else { 1 }
}

/// The cost of one or more calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    allocations: u64,
    took: Duration,
}

/// Measures repeated calls. The argument of `one` is true if its call is counted. `check` gets the spans of the first.
pub fn measure(mode: Mode, check: impl FnOnce(&[SpanData]), mut one: impl FnMut(bool) -> Cost) {
    let spans = sdk::spans_of(|| {
        one(false);
    });
    check(&spans);
    for _ in 0..WARM_UP {
        one(false);
    }
    let costs: Vec<Cost> = (0..batches(mode))
        .map(|_| {
            (0..ITERATIONS).fold(Cost::default(), |sum, _| {
                let cost = one(true);
                Cost { allocations: sum.allocations + cost.allocations, took: sum.took + cost.took }
            })
        })
        .collect();
    if mode == Mode::Native {
        println!("allocations {}", costs[0].allocations as f64 / ITERATIONS as f64);
        let mut times: Vec<_> =
            costs.iter().map(|cost| cost.took.as_nanos() as f64 / ITERATIONS as f64).collect();
        println!("nanoseconds {}", median(&mut times));
    }
}

/// Notes that the future can be polled.
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a future on this thread, below the parent. Its polls are counted, and the time between them is not.
pub fn call(variant: Variant, counts: bool, future: impl Future<Output = ()>) -> Cost {
    let _current = variant.caller().attach();
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

/// The telemetry that one call records.
#[derive(Debug)]
pub struct Expected<'a> {
    /// The measured client.
    pub candidate: Candidate,
    /// The sampling of the parent.
    pub variant: Variant,
    /// The name of the span.
    pub span: &'a str,
    /// True for the operation `process`.
    pub is_processing: bool,
}

impl Expected<'_> {
    /// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
    pub fn check(&self, spans: &[SpanData], metrics: &Metrics) {
        let is_instrumented = self.candidate != Candidate::Bare;
        let expected = usize::from(is_instrumented && self.variant == Variant::Sampled);
        assert_eq!(spans.len(), expected, "{spans:?}");
        for span in spans {
            assert_eq!(span.name, self.span);
            assert_eq!(span.span_context.trace_id(), TraceId::from(TRACE_ID));
            assert_eq!(span.parent_span_id, SpanId::from(SPAN_ID));
            let attributes = sdk::texts(span.attributes.iter());
            for name in ["system", "operation.name", "operation.type", "destination.name"] {
                let expected = format!("messaging.{name}=");
                assert!(attributes.iter().any(|kv| kv.starts_with(&expected)), "no {name} in {attributes:?}");
            }
            assert!(attributes.iter().any(|kv| kv.starts_with("server.port=")), "{attributes:?}");
        }
        let names = match self.is_processing {
            true => ["messaging.process.duration", "messaging.client.consumed.messages"],
            false => ["messaging.client.operation.duration", "messaging.client.sent.messages"],
        };
        for name in names {
            let points = metrics.points();
            let value: f64 = points.iter().filter(|point| point.name == name).map(|point| point.value).sum();
            assert_eq!(value, f64::from(u8::from(is_instrumented)), "{name}");
        }
    }
}
