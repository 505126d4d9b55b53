//! The results of the formats while one carrier is read, and the context that is built out of them at the end.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _};

use crate::inbound::{InboundBaggage, InboundState, InboundTrace};

/// The result of [`PropagatorHandle::extract_parent`](crate::PropagatorHandle::extract_parent).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExtractedParent {
    /// The carrier holds a span context and nothing else, or nothing at all: then it is an invalid one.
    SpanContext(SpanContext),
    /// The context of any other carrier.
    Context(Context),
}

impl ExtractedParent {
    /// Returns the id of the caller's span, an invalid one if there is none.
    #[must_use]
    #[inline]
    pub fn span_id(&self) -> SpanId {
        match self {
            Self::SpanContext(span) => span.span_id(),
            Self::Context(cx) => cx.span().span_context().span_id(),
        }
    }

    /// Returns the context, as [`PropagatorHandle::extract`](crate::PropagatorHandle::extract) does.
    #[must_use]
    #[inline]
    pub fn into_context(self) -> Context {
        match self {
            Self::SpanContext(span) if span.is_valid() => Context::new().with_remote_span_context(span),
            Self::SpanContext(_) => Context::new(),
            Self::Context(cx) => cx,
        }
    }
}

impl Default for ExtractedParent {
    fn default() -> Self {
        Self::SpanContext(SpanContext::NONE)
    }
}

impl From<Context> for ExtractedParent {
    fn from(cx: Context) -> Self {
        Self::Context(cx)
    }
}

/// The context that was extracted so far, and what is yet to be stored in it: once, because each value in a `Context`
/// costs allocations.
pub(crate) struct Extracted {
    cx: Context,
    span: Option<(SpanContext, InboundTrace)>,
    state: Option<InboundState>,
}

impl Extracted {
    #[inline]
    pub(crate) fn new(cx: Context) -> Self {
        Self { cx, span: None, state: None }
    }

    #[inline]
    pub(crate) fn put_span_context(&mut self, mut span_context: SpanContext, mut trace: InboundTrace) {
        if let Some((former, former_trace)) = &self.span
            && former_trace.trace_id == trace.trace_id
            && former_trace.span_id == trace.span_id
        {
            // Services that write several formats write the same span in each; none of them holds all that is known.
            span_context = trace.merge(former_trace, former, &span_context);
        }
        self.span = Some((span_context, trace));
    }

    pub(crate) fn put_baggage(&mut self, baggage: Baggage) {
        if !baggage.is_empty() {
            self.cx = self.cx.with_baggage(baggage);
        }
    }

    pub(crate) fn put_baggage_text(&mut self, text: String, is_parsed: bool) {
        if !text.is_empty() {
            self.state.get_or_insert_default().baggage =
                Some(InboundBaggage { text: text.into(), is_parsed });
        }
    }

    pub(crate) fn put_pass_through_values(&mut self, values: Vec<(Arc<str>, Box<str>)>) {
        if !values.is_empty() {
            self.state.get_or_insert_default().pass_through = Some(values.into());
        }
    }

    /// Continues with the context that a propagator of another kind makes of the present one.
    pub(crate) fn replace_context(&mut self, replace: impl FnOnce(&Context) -> Context) {
        let cx = std::mem::replace(self, Self::new(Context::new())).into_context();
        self.cx = replace(&cx);
    }

    /// Returns the context with all that was extracted.
    #[inline]
    pub(crate) fn into_context(self) -> Context {
        let Self { mut cx, span, mut state } = self;
        if let Some((span_context, trace)) = span {
            // A former value may be for the same trace, and would then be taken for this one's.
            let replaces = cx.get::<InboundState>().is_some();
            cx = cx.with_remote_span_context(span_context);
            if replaces || trace.is_worth_keeping() {
                state.get_or_insert_default().trace = Some(trace);
            }
        }
        match state {
            Some(state) => state.store(&cx),
            None => cx,
        }
    }
}
