//! State received beside the span context that has to go out again, kept in the `Context` as one value.
//!
//! A value beside the span costs a `Context` three allocations, so all formats share this one, and it is stored only
//! when the context cannot say the same without it. Follows W3C Trace Context level 2, "Random Trace ID Flag"
//! (<https://www.w3.org/TR/trace-context-2/#random-trace-id-flag>).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId};

/// The `sampled` bit of the trace flags.
pub(crate) const SAMPLED: u8 = 0x01;
/// The `random` bit of the trace flags.
pub(crate) const RANDOM: u8 = 0x02;

/// Set if trace ids that this process makes have random right-most 7 bytes.
static RANDOM_TRACE_IDS: AtomicBool = AtomicBool::new(false);

/// Declares that the trace ids that this process makes are random (or are not), as the `random` flag of Trace Context
/// level 2 defines it: at least their right-most 7 bytes. Until then the flag is not set for traces that begin here.
///
/// A propagator cannot see the id generator, so the code that sets the SDK up has to declare it, before the first
/// request. The flag of a trace that was continued is the received one, in spite of this declaration; that requires
/// that all contexts of the process are extracted by this crate, since other propagators do not keep the flag.
pub fn declare_random_trace_ids(random: bool) {
    RANDOM_TRACE_IDS.store(random, Ordering::Relaxed);
}

pub(crate) fn random_trace_ids_declared() -> bool {
    RANDOM_TRACE_IDS.load(Ordering::Relaxed)
}

/// Returns true if `trace_id` was received with the `random` flag into this context.
pub fn is_received_random(cx: &Context, trace_id: TraceId) -> bool {
    InboundTrace::for_trace(cx, trace_id).is_some_and(|trace| trace.flags & RANDOM != 0)
}

/// Names and values of headers that are passed through; names are shared with the propagator.
pub(crate) type PassThroughValues = Arc<[(Arc<str>, Box<str>)]>;

/// The one value that is stored beside the span.
#[derive(Clone, Debug, Default)]
pub(crate) struct InboundState {
    pub(crate) trace: Option<InboundTrace>,
    pub(crate) baggage: Option<InboundBaggage>,
    pub(crate) pass_through: Option<PassThroughValues>,
}

impl InboundState {
    /// Stores this, beside or in place of the state that the context holds already.
    pub(crate) fn store(mut self, cx: &Context) -> Context {
        if let Some(former) = cx.get::<Self>() {
            self.trace = self.trace.or_else(|| former.trace.clone());
            self.baggage = self.baggage.or_else(|| former.baggage.clone());
            self.pass_through = self.pass_through.or_else(|| former.pass_through.clone());
        }
        cx.with_value(self)
    }
}

/// The members of a received `baggage` header, joined as they came.
#[derive(Clone, Debug)]
pub(crate) struct InboundBaggage {
    pub(crate) text: Arc<str>,
    /// Set if the context's baggage holds these members, too. Then a member that is missing there was removed.
    pub(crate) is_parsed: bool,
}

/// The sampling state of B3, as far as the `sampled` flag does not express it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum B3Sampling {
    #[default]
    Decided,
    Debug,
    /// The receiver is to decide.
    Deferred,
}

/// The part of a received trace context that the API's span context cannot hold.
#[derive(Clone, Debug)]
pub(crate) struct InboundTrace {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: u8,
    /// Absent where the API's `TraceState` gives the same text.
    pub(crate) tracestate: Option<Arc<str>>,
    pub(crate) b3_sampling: B3Sampling,
}

impl InboundTrace {
    /// Returns the state of the received trace if `trace_id` names it.
    pub(crate) fn for_trace(cx: &Context, trace_id: TraceId) -> Option<&Self> {
        cx.get::<InboundState>()?.trace.as_ref().filter(|trace| trace.trace_id == trace_id)
    }

    /// Adds what another format had received about the same span, and returns the span's context with it.
    pub(crate) fn merge(&mut self, former: &Self, before: &SpanContext, now: &SpanContext) -> SpanContext {
        self.flags |= former.flags & RANDOM;
        let mut state = now.trace_state();
        if state.into_iter().len() == 0 && self.tracestate.is_none() {
            self.tracestate.clone_from(&former.tracestate);
            state = before.trace_state();
        }
        let mut flags = now.trace_flags();
        self.b3_sampling = match (former.b3_sampling, self.b3_sampling) {
            (B3Sampling::Debug, _) | (_, B3Sampling::Debug) => B3Sampling::Debug,
            (B3Sampling::Deferred, B3Sampling::Deferred) => B3Sampling::Deferred,
            (B3Sampling::Decided, B3Sampling::Deferred) => {
                flags = before.trace_flags();
                B3Sampling::Decided
            }
            (_, B3Sampling::Decided) => B3Sampling::Decided,
        };
        let flags = flags | TraceFlags::new(self.flags & RANDOM);
        SpanContext::new(now.trace_id(), now.span_id(), flags, true, state.clone())
    }

    pub(crate) fn is_worth_keeping(&self) -> bool {
        // If roots are declared random, a context without this value is taken for a root, so that a received trace
        // whose flag is not set needs one to say so.
        self.flags & RANDOM != 0
            || self.tracestate.is_some()
            || self.b3_sampling != B3Sampling::Decided
            || random_trace_ids_declared()
    }
}

/// Returns the flags to send for a span: its own, and the `random` bit if that is known.
pub(crate) fn outgoing_flags(span_context: &SpanContext, inbound: Option<&InboundTrace>) -> u8 {
    let own = span_context.trace_flags().to_u8() & (SAMPLED | RANDOM);
    match inbound {
        Some(trace) => own | (trace.flags & RANDOM),
        None if random_trace_ids_declared() && !span_context.is_remote() => own | RANDOM,
        None => own,
    }
}
