//! What the formats have found in a carrier so far, and how they store it in one context.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};

use crate::inbound::{InboundState, InboundTrace};

/// The context as far as it was read, and what is yet to be stored in it: once, for each value costs allocations.
pub(crate) struct Extracted {
    pub(crate) cx: Context,
    received: Option<InboundState>,
}

impl Extracted {
    #[inline]
    pub(crate) fn new(cx: Context) -> Self {
        Self { cx, received: None }
    }

    /// The context with all that was found.
    #[inline]
    pub(crate) fn into_context(mut self) -> Context {
        // Taken out of its place only where there is something: moving all of it costs more than the rest of this.
        if let Some(received) = &mut self.received {
            return std::mem::take(received).store(&self.cx);
        }
        self.cx
    }

    #[inline]
    pub(crate) fn put_span_context(&mut self, mut span_context: SpanContext, mut trace: InboundTrace) {
        if let Some(former) = self.received.as_ref().and_then(|received| received.trace.as_ref()) {
            // Services that write several formats write the same span in each; none of them holds all that is known.
            let span = self.cx.span();
            if span.span_context().span_id() == span_context.span_id() && former.trace_id == trace.trace_id {
                span_context = trace.merge(former, span.span_context(), &span_context);
            }
        }
        self.cx = self.cx.with_remote_span_context(span_context);
        // One that is there may be for the same trace, and would then be taken for this one's.
        let replaces = self.received.is_some() || self.cx.get::<InboundState>().is_some();
        if replaces || trace.is_worth_keeping() {
            self.received.get_or_insert_default().trace = Some(trace);
        }
    }

    pub(crate) fn put_baggage(&mut self, baggage: Baggage) {
        if !baggage.is_empty() {
            self.cx = self.cx.with_baggage(baggage);
        }
    }

    pub(crate) fn put_baggage_text(&mut self, text: String) {
        if !text.is_empty() {
            self.received.get_or_insert_default().baggage = Some(text.into());
        }
    }

    pub(crate) fn put_passed(&mut self, passed: Vec<(Arc<str>, Box<str>)>) {
        if !passed.is_empty() {
            self.received.get_or_insert_default().passed = Some(passed.into());
        }
    }
}
