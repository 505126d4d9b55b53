//! How a message's span relates to the span that made the message: as child, by a link, or both.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Context propagation" and
//! "Span kind", and the specification's rule that creation contexts are linked.

use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};

use crate::operation::OperationType;

/// Which span is the parent of a `process` span. The link to the message's creation context is there in every mode.
///
/// An ambient span is a valid one that is current where processing starts. Where it is the parent, its baggage stays
/// current as well; in all other cases that of the message is. A batch has no producer of its own: its parent is the
/// ambient span, in every mode.
///
/// A trace of its own keeps what travels with a message's context: baggage, and headers that are passed through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParentMode {
    /// Never the producer: the ambient span, else none, so that processing begins a trace of its own.
    LinkOnly,
    /// The ambient span; where there is none, the producer.
    #[default]
    ProducerIfNoAmbient,
    /// Always the producer. A message without a context begins a trace of its own, whatever is current.
    Producer,
}

/// What becomes of a trace context that a message carries already when it is sent: one that was received and is
/// forwarded, or one that its author put there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingContext {
    /// The `send` span's context takes its place, and the `send` span links to it. Each hop is then seen.
    #[default]
    ReplaceAndLink,
    /// It stays in the message, as the conventions recommend. The `send` span links to it and is of kind CLIENT, and
    /// consumers do not see the forwarding.
    Preserve,
}

/// The context that processing one message starts from: its span is the parent, its baggage is current.
pub(crate) fn process_parent<'a>(
    mode: ParentMode,
    current: &'a Context,
    message: &'a Context,
) -> Cow<'a, Context> {
    if mode != ParentMode::Producer && is_valid(current) {
        return Cow::Borrowed(current);
    }
    if mode == ParentMode::LinkOnly && is_valid(message) {
        // The trace ends here; what the producer said about the business (its baggage) is still true.
        return Cow::Owned(otel_propagation::without_span(message));
    }
    Cow::Borrowed(message)
}

/// The kind of an operation's span, and whether its context is written into the message.
pub(crate) fn kind(
    operation: Option<OperationType>,
    existing: ExistingContext,
    carries: bool,
) -> (SpanKind, bool) {
    match operation {
        Some(OperationType::Send) if carries && existing == ExistingContext::Preserve => {
            (SpanKind::Client, false)
        }
        Some(OperationType::Create | OperationType::Send) => (SpanKind::Producer, true),
        Some(OperationType::Receive | OperationType::Settle) | None => (SpanKind::Client, false),
        Some(OperationType::Process) => (SpanKind::Consumer, false),
    }
}

pub(crate) fn is_valid(context: &Context) -> bool {
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
            let chosen = process_parent(mode, current, message);
            assert_eq!(chosen.span().span_context().span_id(), SpanId::from(parent), "{mode:?}");
            // A sampler that asks its parent asks this.
            assert_eq!(chosen.has_active_span(), parent != 0, "{mode:?}");
        }
    }

    #[test]
    fn only_a_preserved_context_makes_sending_a_clients_matter() {
        let (replace, preserve) = (ExistingContext::ReplaceAndLink, ExistingContext::Preserve);
        for (operation, existing, carries, expected) in [
            (OperationType::Send, replace, true, (SpanKind::Producer, true)),
            (OperationType::Send, preserve, true, (SpanKind::Client, false)),
            (OperationType::Send, preserve, false, (SpanKind::Producer, true)),
            (OperationType::Create, preserve, true, (SpanKind::Producer, true)),
            (OperationType::Receive, replace, true, (SpanKind::Client, false)),
            (OperationType::Process, replace, true, (SpanKind::Consumer, false)),
            (OperationType::Settle, replace, false, (SpanKind::Client, false)),
        ] {
            assert_eq!(
                kind(Some(operation), existing, carries),
                expected,
                "{operation:?} {existing:?} {carries}"
            );
        }
        assert_eq!(kind(None, preserve, true), (SpanKind::Client, false));
    }
}
