//! What was received beside the span context and must go out again, kept in the `Context` as one value.
//!
//! A value beside the span costs a `Context` three allocations, so all formats share this one, and it is stored only
//! when there is something to keep. Follows W3C Trace Context level 2, "Random Trace ID flag" and "Mutating the
//! tracestate Field".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceFlags, TraceId};

/// The `sampled` bit of the trace flags.
pub(crate) const SAMPLED: u8 = 0x01;
/// The `random` bit of the trace flags.
pub(crate) const RANDOM: u8 = 0x02;

/// Whether trace ids that this process makes have random right-most 7 bytes.
static RANDOM_TRACE_IDS: AtomicBool = AtomicBool::new(false);

/// Declares whether the trace ids that this process makes are random, as the `random` flag of Trace Context level 2
/// means it: at least their right-most 7 bytes. Until then the flag is not set for traces that begin here.
///
/// A propagator cannot see the generator of ids, so whoever sets the SDK up has to say. Call it before the first
/// request. The flag of a trace that was continued is what was received, whatever is declared here; that requires that
/// all contexts of the process are extracted by this crate, since another propagator does not keep the flag.
pub fn declare_random_trace_ids(random: bool) {
    RANDOM_TRACE_IDS.store(random, Ordering::Relaxed);
}

pub(crate) fn random_trace_ids_declared() -> bool {
    RANDOM_TRACE_IDS.load(Ordering::Relaxed)
}

/// Whether `trace_id` is known to be random: it was received with the `random` flag into this context.
pub fn is_received_random(cx: &Context, trace_id: TraceId) -> bool {
    InboundTrace::of(cx, trace_id).is_some_and(|trace| trace.flags & RANDOM != 0)
}

/// Names and values of headers that are passed through; names are shared with the propagator.
type Passed = Arc<[(Arc<str>, Box<str>)]>;

/// The one value that is stored beside the span.
#[derive(Clone, Debug, Default)]
pub(crate) struct InboundState {
    pub(crate) trace: Option<InboundTrace>,
    pub(crate) baggage: Option<Arc<str>>,
    pub(crate) passed: Option<Passed>,
}

/// What came with a span context that the API's type cannot hold.
#[derive(Clone, Debug)]
pub(crate) struct InboundTrace {
    pub(crate) trace_id: TraceId,
    pub(crate) flags: u8,
    pub(crate) tracestate: Option<Arc<str>>,
    pub(crate) b3_debug: bool,
}

impl InboundTrace {
    /// What came with the trace, if the trace is the one that was received.
    pub(crate) fn of(cx: &Context, trace_id: TraceId) -> Option<&Self> {
        cx.get::<InboundState>()?.trace.as_ref().filter(|trace| trace.trace_id == trace_id)
    }

    /// Adds what another format said of the same span, and returns the span's context with it.
    pub(crate) fn merge(&mut self, former: &Self, before: &SpanContext, now: &SpanContext) -> SpanContext {
        self.flags |= former.flags & RANDOM;
        self.b3_debug |= former.b3_debug;
        let mut state = now.trace_state();
        if self.tracestate.is_none() {
            self.tracestate.clone_from(&former.tracestate);
            state = before.trace_state();
        }
        let flags = now.trace_flags() | TraceFlags::new(self.flags & RANDOM);
        SpanContext::new(now.trace_id(), now.span_id(), flags, true, state.clone())
    }

    pub(crate) fn is_worth_keeping(&self) -> bool {
        // Where roots are declared random, a context without this value is taken for a root, so that a received trace
        // whose flag is not set needs one to say so.
        self.flags & RANDOM != 0 || self.tracestate.is_some() || self.b3_debug || random_trace_ids_declared()
    }
}

impl InboundState {
    /// Stores this, beside or in place of what the context holds already.
    pub(crate) fn store(mut self, cx: &Context) -> Context {
        if let Some(former) = cx.get::<Self>() {
            self.trace = self.trace.or_else(|| former.trace.clone());
            self.baggage = self.baggage.or_else(|| former.baggage.clone());
            self.passed = self.passed.or_else(|| former.passed.clone());
        }
        cx.with_value(self)
    }
}

/// The flags to send for a span: its own, and the `random` bit where that is known.
pub(crate) fn outgoing_flags(span_context: &SpanContext, received: Option<&InboundTrace>) -> u8 {
    let own = span_context.trace_flags().to_u8() & (SAMPLED | RANDOM);
    match received {
        Some(trace) => own | (trace.flags & RANDOM),
        None if random_trace_ids_declared() && !span_context.is_remote() => own | RANDOM,
        None => own,
    }
}
