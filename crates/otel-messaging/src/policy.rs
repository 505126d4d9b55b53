//! The kind of a message's span, the treatment of a context that a message already carries, and the acknowledgement of
//! messages.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Context propagation" and
//! "Span kind": a span links to the creation context of each message.

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};

use crate::operation_type::OperationType;

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
/// been delivered again and processed, or the group has assigned the partition anew.
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
    /// broker delivers it again without waiting for a timeout (NATS: `nak`, RabbitMQ: `nack` with `requeue`). Equal to `OnSuccess` where the broker has no
    /// rejection, as in Kafka.
    ByOutcome,
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
