//! The cells of the tables, the measurement of one cell, and their common parts.

use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use benchmarks::measure::Mode;
use benchmarks::named;
use benchmarks::sdk::{self, Metrics};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureRecord};

use crate::{consumer, full, paced, producer};

pub(crate) const TOPIC: &str = "orders";
pub(crate) const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
pub(crate) const SPAN_ID: u64 = 0x00f0_67aa_0ba9_02b7;
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const PAYLOAD: [u8; 100] = [b'x'; 100];

/// The ratio of messages to sampled messages in [`Variant::Tenth`].
const TENTH: usize = 10;

named! {
    /// The measured client.
    pub(crate) Candidate {
        Bare = "bare",
        Floor = "floor",
        Ours = "ours",
    }
}

named! {
    /// The sampling of the parent, which is the current context when sending and the producer's context when processing,
    /// or the installed parts of OpenTelemetry.
    pub(crate) Variant {
        Unsampled = "unsampled",
        /// Not sampled, with the sampler and the propagator declared, as otel-telemetry does.
        Declared = "declared",
        Tenth = "tenth",
        Sampled = "sampled",
        /// The propagator alone, with an unsampled parent.
        NoSdk = "no-sdk",
        /// Neither providers nor a propagator.
        Nothing = "nothing",
    }
}

impl Variant {
    pub(crate) fn has_sdk(self) -> bool {
        !matches!(self, Self::NoSdk | Self::Nothing)
    }

    pub(crate) fn has_floor(self) -> bool {
        self.has_sdk() && self != Self::Declared
    }

    /// Returns the number of spans of one message, if they are recorded.
    pub(crate) fn spans(self) -> usize {
        usize::from(!matches!(self, Self::Unsampled | Self::Declared))
    }
}

named! {
    /// The measured operation.
    pub(crate) Side {
        /// Sends messages and serves their delivery reports.
        Producer = "producer",
        /// Receives messages and, with otel-kafka, processes them.
        Consumer = "consumer",
        /// Sends more messages than the queue holds.
        Full = "full",
        /// Sends messages to a real broker at a fixed rate.
        Paced = "paced",
    }
}

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    let [side, candidate, variant, mode] = arguments else { return None };
    let (side, mode) = (Side::parse(side)?, Mode::parse(mode)?);
    let (candidate, variant) = (Candidate::parse(candidate)?, Variant::parse(variant)?);
    if candidate == Candidate::Floor && (matches!(side, Side::Full | Side::Paced) || !variant.has_floor()) {
        return None;
    }
    let metrics = install(variant);
    match side {
        Side::Producer => producer::measure(candidate, variant, mode, &metrics),
        Side::Consumer => consumer::measure(candidate, variant, mode, &metrics),
        Side::Full => full::measure(candidate),
        Side::Paced => paced::measure(candidate, &metrics),
    }
    Some(())
}

/// Installs the global providers and the propagator, which rdkafka's clients do not use.
fn install(variant: Variant) -> Option<Metrics> {
    if variant != Variant::Nothing {
        let formats = otel_propagation::CompositePropagator::empty();
        otel_propagation::set_global(
            formats.with_trace_context(otel_propagation::TraceContextPropagator::new()),
        );
    }
    if variant == Variant::Declared {
        sdk::declare();
    }
    variant.has_sdk().then(|| {
        sdk::install_traces();
        sdk::install_metrics()
    })
}

/// Returns the sum of all data points with this name.
pub(crate) fn counted(metrics: &Option<Metrics>, name: &str) -> f64 {
    let points = metrics.iter().flat_map(Metrics::points);
    points.filter(|point| point.name == name).map(|point| point.value).sum()
}

/// Returns `true` if a candidate records something of each message.
pub(crate) fn is_recorded(candidate: Candidate, variant: Variant) -> bool {
    candidate != Candidate::Bare && variant.has_sdk()
}

/// Returns `true` if the parent of the message with this number is sampled.
pub(crate) fn is_sampled(variant: Variant, number: usize) -> bool {
    match variant {
        Variant::Unsampled | Variant::Declared | Variant::NoSdk | Variant::Nothing => false,
        Variant::Tenth => number.is_multiple_of(TENTH),
        Variant::Sampled => true,
    }
}

/// Creates the context in which a message is sent.
pub(crate) fn caller(sampled: bool) -> Context {
    let flags = TraceFlags::default().with_sampled(sampled);
    let (trace, span) = (TraceId::from(TRACE_ID), SpanId::from(SPAN_ID));
    Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

/// Creates a record without headers.
pub(crate) fn record() -> FutureRecord<'static, [u8], [u8]> {
    FutureRecord::to(TOPIC).key(b"order-7".as_slice()).payload(PAYLOAD.as_slice()).partition(0)
}

/// Creates a handwritten `traceparent` header.
pub(crate) fn by_hand(sampled: bool) -> OwnedHeaders {
    let value = Some(if sampled { SAMPLED } else { UNSAMPLED });
    OwnedHeaders::new_with_capacity(1).insert(Header { key: "traceparent", value })
}

/// Starts a mock cluster of one broker, which runs until the process exits, and returns the configuration of its
/// clients.
pub(crate) fn cluster() -> ClientConfig {
    let cluster = MockCluster::<DefaultProducerContext>::new(1).expect("the mock cluster starts");
    cluster.create_topic(TOPIC, 1, 1).expect("the topic is created");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("client.id", "till-3");
    std::mem::forget(cluster);
    config
}

/// Polls a future once.
pub(crate) fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut TaskContext::from_waker(Waker::noop()))
}
