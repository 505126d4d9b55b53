//! The relation of the span that processes a message to the span that produced the message: parent, link or both.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Context propagation".

use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;

/// The parent of a `process` span. The span links to the message's creation context in every mode.
///
/// The ambient span is the valid span, if any, that is current when processing starts. If it becomes the parent, its
/// baggage stays current too; otherwise the message's baggage becomes current. The parent of a batch is the ambient
/// span in every mode, because a batch has no single producer.
///
/// A new trace keeps the message's baggage and pass-through headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParentMode {
    /// The ambient span, or no parent: without an ambient span, processing starts a new trace.
    LinkOnly,
    /// The ambient span, or the producer if there is no ambient span.
    #[default]
    ProducerIfNoAmbient,
    /// The producer. A message without a context starts a new trace, even if there is an ambient span.
    Producer,
}

impl ParentMode {
    /// Returns the context in which one message is processed: its span becomes the parent, its baggage becomes current.
    /// `current` is the context of the code that processes, `message` the one that the message carries.
    #[must_use]
    pub fn parent<'a>(self, current: &'a Context, message: &'a Context) -> Cow<'a, Context> {
        if self != Self::Producer && has_valid_span(current) {
            return Cow::Borrowed(current);
        }
        if self == Self::LinkOnly && has_valid_span(message) {
            // The new trace drops the producer's span but keeps its baggage, which applies to the message and not to the
            // trace.
            return Cow::Owned(otel_propagation::without_span(message));
        }
        Cow::Borrowed(message)
    }
}

fn has_valid_span(context: &Context) -> bool {
    context.span().span_context().is_valid()
}

#[cfg(test)]
mod tests {
    use super::*;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

    fn context(id: u64) -> Context {
        let trace = TraceId::from(u128::from(id));
        let span =
            SpanContext::new(trace, SpanId::from(id), TraceFlags::SAMPLED, true, TraceState::default());
        Context::new().with_remote_span_context(span)
    }

    #[test]
    fn the_parent_is_chosen_by_the_mode() {
        let (ambient, producer, none) = (context(1), context(2), Context::new());
        for (mode, current, message, parent) in [
            (ParentMode::LinkOnly, &ambient, &producer, 1),
            (ParentMode::LinkOnly, &none, &producer, 0),
            (ParentMode::LinkOnly, &none, &none, 0),
            (ParentMode::ProducerIfNoAmbient, &ambient, &producer, 1),
            (ParentMode::ProducerIfNoAmbient, &none, &producer, 2),
            (ParentMode::ProducerIfNoAmbient, &ambient, &none, 1),
            (ParentMode::Producer, &ambient, &producer, 2),
            (ParentMode::Producer, &none, &producer, 2),
            (ParentMode::Producer, &ambient, &none, 0),
        ] {
            let chosen = mode.parent(current, message);
            assert_eq!(chosen.span().span_context().span_id(), SpanId::from(parent), "{mode:?}");
            // A parent-based sampler checks this.
            assert_eq!(chosen.has_active_span(), parent != 0, "{mode:?}");
        }
    }
}
