//! The cells of the tables, and the telemetry that is installed in each.

use benchmarks::measure::Mode;
use benchmarks::named;
use benchmarks::sdk::{self, Metrics};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};

use crate::run;

pub(crate) const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
pub(crate) const SPAN_ID: u64 = 0x00f0_67aa_0ba9_02b7;
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

named! {
    /// The measured client.
    Candidate {
        Bare = "bare",
        Floor = "floor",
        Ours = "ours",
    }
}

named! {
    /// The sampling of the parent: the current context when sending, the producer's context when processing.
    Variant {
        Unsampled = "unsampled",
        Sampled = "sampled",
        /// No provider and no propagator is installed. The bare client writes no header.
        Nothing = "nothing",
    }
}

named! {
    /// The measured operation.
    Side {
        /// Publishes messages.
        Publish = "publish",
        /// Sends requests and waits for their replies.
        Request = "request",
        /// Receives messages of a subscription and, with otel-nats, processes them.
        Process = "process",
    }
}

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    let [side, candidate, variant, mode] = arguments else { return None };
    let (side, mode) = (Side::parse(side)?, Mode::parse(mode)?);
    let (candidate, variant) = (Candidate::parse(candidate)?, Variant::parse(variant)?);
    if candidate == Candidate::Floor && (variant == Variant::Nothing || !cfg!(feature = "comparison")) {
        return None;
    }
    let metrics = if variant == Variant::Nothing { None } else { Some(install()) };
    run::measure(side, candidate, variant, mode, metrics.as_ref());
    Some(())
}

/// Installs the global providers and the propagator, which async-nats does not use.
fn install() -> Metrics {
    let formats = otel_propagation::CompositePropagator::empty();
    otel_propagation::set_global(formats.with_trace_context(otel_propagation::TraceContextPropagator::new()));
    sdk::install_traces();
    sdk::install_metrics()
}

/// Creates the context in which a message is sent.
pub(crate) fn caller(variant: Variant) -> Context {
    if variant == Variant::Nothing {
        return Context::new();
    }
    let flags = TraceFlags::default().with_sampled(variant == Variant::Sampled);
    let (trace, span) = (TraceId::from(TRACE_ID), SpanId::from(SPAN_ID));
    Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

/// Returns the `traceparent` that is written by hand.
pub(crate) fn by_hand(variant: Variant) -> Option<&'static str> {
    match variant {
        Variant::Unsampled => Some(UNSAMPLED),
        Variant::Sampled => Some(SAMPLED),
        Variant::Nothing => None,
    }
}
