//! The relation of a message's span to the span that produced the message (parent, link or both), and the
//! acknowledgement of messages.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Context propagation" and
//! "Span kind": a span links to the creation context of each message.

use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};

use crate::operation_type::OperationType;

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

/// The treatment of a trace context that a message already carries when it is sent, because it is forwarded or
/// because the application wrote a context into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingContext {
    /// Replaces it with the context of the `send` span, which links to it. Traces then show each hop.
    #[default]
    ReplaceAndLink,
    /// Keeps it in the message, as the conventions recommend. The `send` span links to it and has kind CLIENT;
    /// consumers do not see the forwarding.
    Preserve,
}

/// The acknowledgement of messages by a processing loop.
///
/// A message whose handler failed, was dropped or panicked is not acknowledged. [`ByOutcome`](Self::ByOutcome) rejects one
/// whose handler failed. In Kafka, an acknowledgement includes
/// all earlier messages: the later messages of the partition are therefore not acknowledged either until the failed one has
/// been delivered again and processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acknowledgement {
    /// The loop acknowledges nothing: the handler does, or the client does by itself.
    #[default]
    Never,
    /// Acknowledges each message after its handler has succeeded.
    OnSuccess,
    /// Marks each message as done after its handler has succeeded, and leaves the acknowledgement to the client, which
    /// batches it (Kafka: stored offsets and automatic commits). Equal to `OnSuccess` where the client has no such mode.
    StoredOnSuccess,
    /// Acknowledges each message after its handler has succeeded, and rejects it after its handler has failed, so that the
    /// broker delivers it again without waiting for a timeout (NATS: `nak`). Equal to `OnSuccess` where the broker has no
    /// rejection, as in Kafka.
    ByOutcome,
}

/// Returns the context in which one message is processed: its span becomes the parent, its baggage becomes current.
pub(crate) fn process_parent<'a>(
    mode: ParentMode,
    current: &'a Context,
    message: &'a Context,
) -> Cow<'a, Context> {
    if mode != ParentMode::Producer && is_valid(current) {
        return Cow::Borrowed(current);
    }
    if mode == ParentMode::LinkOnly && is_valid(message) {
        // The new trace drops the producer's span but keeps its baggage, which applies to the message and not to the
        // trace.
        return Cow::Owned(otel_propagation::without_span(message));
    }
    Cow::Borrowed(message)
}

/// Returns the kind of an operation's span, and true if its context has to be written into the message.
pub(crate) fn kind(
    operation: Option<OperationType>,
    awaits_reply: bool,
    existing: ExistingContext,
    carries: bool,
) -> (SpanKind, bool) {
    match operation {
        Some(OperationType::Send) if carries && existing == ExistingContext::Preserve => {
            (SpanKind::Client, false)
        }
        Some(OperationType::Send) if awaits_reply => (SpanKind::Client, true),
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
            // A parent-based sampler checks this.
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
                kind(Some(operation), false, existing, carries),
                expected,
                "{operation:?} {existing:?} {carries}"
            );
        }
        assert_eq!(kind(None, false, preserve, true), (SpanKind::Client, false));
        let request = |existing, carries| kind(Some(OperationType::Send), true, existing, carries);
        assert_eq!(request(replace, true), (SpanKind::Client, true), "a request waits for its reply");
        assert_eq!(request(preserve, true), (SpanKind::Client, false));
        assert_eq!(request(preserve, false), (SpanKind::Client, true));
    }
}
