//! Messages that are sent, and the budget of their headers.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans" and "Context
//! propagation".

use std::cell::RefCell;

use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, OutboundSpan, SpanStart, StartTime, catch_panic};
use otel_propagation::{HeaderReader, HeaderWriter, PropagatorHandle};

use crate::attributes::MessageAttributes;
use crate::operation::{MessagingOperation, OperationState};
use crate::operation_builder::{OperationBuilder, Starter};

/// A message that is about to be sent, as a transport holds it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message that an instrumented client can send",
    note = "transport crates implement `OutboundMessage` for the client library's message and its headers"
)]
pub trait OutboundMessage {
    /// The headers of the message.
    type Headers: HeaderReader + HeaderWriter;

    /// Returns the headers, or `None` if the message has none.
    fn headers(&self) -> Option<&Self::Headers>;

    /// Returns the headers to write into.
    fn headers_mut(&mut self) -> &mut Self::Headers;

    /// Adds the attributes of the message. Called only if the span records or a sampler reads them.
    fn describe(&self, attributes: &mut MessageAttributes);
}

/// The bytes that the headers of a message may still grow by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum HeaderBudget {
    /// The transport has no limit, or sends a rejected message again.
    Unlimited,
    /// The names and values of the written headers must fit into `left` bytes; each header costs `per_header` bytes of
    /// framing besides.
    #[non_exhaustive]
    Bytes {
        /// The bytes that are left.
        left: usize,
        /// The framing of one header, in bytes.
        per_header: usize,
    },
}

/// With this many bytes left, headers are written without measuring all of them first, because a context seldom takes
/// half as much: its longest part is baggage, of at most 8,192 bytes.
const AMPLE: usize = 16 << 10;

impl HeaderBudget {
    /// Returns a limit of `left` bytes, of which each header takes `per_header` for framing.
    #[must_use]
    pub fn bytes(left: usize, per_header: usize) -> Self {
        Self::Bytes { left, per_header }
    }
}

impl OperationBuilder<'_> {
    /// Starts the operation of sending one message, and writes its context into the message's headers.
    ///
    /// If the headers would exceed the budget, none is written and the message goes out as it is; see
    /// [`MessagingOperation::is_context_dropped`]. With a budget of 16 KiB or more only the headers that do not fit are
    /// left out.
    pub fn start_outbound<M: OutboundMessage>(
        self,
        current: &Context,
        message: &mut M,
        budget: HeaderBudget,
    ) -> MessagingOperation {
        let destination = self.destination();
        if destination.client.is_idle() {
            return MessagingOperation::idle();
        }
        // A message that is not recorded has no links, but it can keep its context.
        let headers = message.headers().filter(|_| destination.recorded || self.preserves_context());
        let carried = headers.map(|headers| destination.client.extract_without_baggage(headers));
        let mut builder: OperationBuilder<'_> = self;
        builder.message = carried.as_ref();
        let message = RefCell::new(message);
        let attributes = |attributes: &mut MessageAttributes| message.borrow().describe(attributes);
        let mut operation = builder.start_by(current, attributes, Sender { message: &message, budget });
        if operation.injects_inert() {
            let message = &mut **message.borrow_mut();
            if !write(message, budget, &operation) {
                operation.drop_context();
            }
        }
        operation
    }
}

/// Starts the span of a message and writes its context into the message's headers before the span becomes an operation, so
/// that a span that does not record needs no context.
struct Sender<'r, 'm, M> {
    message: &'r RefCell<&'m mut M>,
    budget: HeaderBudget,
}

impl<M: OutboundMessage> Starter for Sender<'_, '_, M> {
    #[inline]
    fn start(
        self,
        start: impl FnOnce() -> SpanStart,
        parent: &Context,
        started: StartTime,
        mut state: OperationState,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Operation<OperationState> {
        let client = &state.destination.client;
        let span = Operation::<OperationState>::start_outbound(&client.tracer, start, parent, attributes);
        if state.injects {
            let context = (&span, &client.options.propagation);
            // A propagator that panics costs the context alone.
            let is_written = catch_panic(|| write(&mut **self.message.borrow_mut(), self.budget, &context));
            state.context_dropped = is_written == Some(false);
        }
        Operation::from_outbound(span, started, state)
    }
}

/// A context that can be written into headers, or into a carrier that only measures it.
trait WriteContext {
    fn write<C: HeaderWriter>(&self, headers: &mut C);
}

impl WriteContext for (&OutboundSpan<'_>, &PropagatorHandle) {
    #[inline]
    fn write<C: HeaderWriter>(&self, headers: &mut C) {
        self.0.inject(self.1, headers);
    }
}

impl WriteContext for MessagingOperation {
    #[inline]
    fn write<C: HeaderWriter>(&self, headers: &mut C) {
        self.inject(headers);
    }
}

/// Writes a context into the headers of a message. Returns false if not all of it fits.
#[inline]
fn write<M: OutboundMessage>(message: &mut M, budget: HeaderBudget, context: &impl WriteContext) -> bool {
    let headers = message.headers_mut();
    match budget {
        HeaderBudget::Bytes { left, per_header } if left >= AMPLE => {
            let mut bounded = BoundedWriter { headers, left, per_header, is_full: false };
            context.write(&mut bounded);
            return !bounded.is_full;
        }
        HeaderBudget::Bytes { left, per_header } => {
            let mut growth = HeaderGrowth::new(headers, per_header);
            context.write(&mut growth);
            if growth.added > growth.freed.saturating_add(left) {
                return false;
            }
        }
        HeaderBudget::Unlimited => {}
    }
    context.write(message.headers_mut());
    true
}

/// Writes headers as long as they fit, and leaves out those that do not.
struct BoundedWriter<'h, H> {
    headers: &'h mut H,
    left: usize,
    per_header: usize,
    is_full: bool,
}

impl<H: HeaderWriter> HeaderWriter for BoundedWriter<'_, H> {
    fn set(&mut self, name: &str, value: &str) {
        self.set_bytes(name, value.as_bytes());
    }

    #[inline]
    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        match self.left.checked_sub(name.len() + value.len() + self.per_header) {
            Some(left) => {
                self.left = left;
                self.headers.set_bytes(name, value);
            }
            None => self.is_full = true,
        }
    }

    fn remove(&mut self, name: &str) {
        self.headers.remove(name);
    }

    fn contains(&self, name: &str) -> bool {
        self.headers.contains(name)
    }
}

/// Counts the bytes by which an injection would change headers, without changing them.
struct HeaderGrowth<'h, H> {
    headers: &'h H,
    per_header: usize,
    added: usize,
    freed: usize,
    removed: Vec<String>,
}

impl<'h, H: HeaderReader> HeaderGrowth<'h, H> {
    fn new(headers: &'h H, per_header: usize) -> Self {
        Self { headers, per_header, added: 0, freed: 0, removed: Vec::new() }
    }

    fn is_removed(&self, name: &str) -> bool {
        self.removed.iter().any(|removed| removed.eq_ignore_ascii_case(name))
    }
}

impl<H: HeaderReader + HeaderWriter> HeaderWriter for HeaderGrowth<'_, H> {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.added += name.len() + value.len() + self.per_header;
    }

    fn remove(&mut self, name: &str) {
        if self.is_removed(name) || !self.headers.contains(name) {
            return;
        }
        let (mut freed, per_header) = (0, self.per_header);
        let is_it = |other: &str| other.eq_ignore_ascii_case(name);
        self.headers.visit_wanted(is_it, |other, value| {
            if is_it(other) {
                freed += other.len() + value.len() + per_header;
            }
        });
        self.freed += freed;
        self.removed.push(name.to_owned());
    }

    fn contains(&self, name: &str) -> bool {
        !self.is_removed(name) && self.headers.contains(name)
    }
}
