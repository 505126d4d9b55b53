//! The builder of an operation: parent, links and attributes. Attributes are built only if a sampler reads them or
//! the span records.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Spans": a span links to the
//! creation contexts of its messages, and a batch records its message count.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::{Link, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, ParentMode, SamplerAttributes, SpanStart, StartTime};

use crate::attributes::{
    BATCH_LINKS_LEFT_OUT, BATCH_MESSAGE_COUNT, MessageAttributes, OPERATION_NAME, OPERATION_TYPE,
};
use crate::operation::{MessagingOperation, OperationState};
use crate::operation_type::{OperationName, OperationType};
use crate::policy::{self, ExistingContext};
use crate::prepared::PreparedDestination;

/// The maximum number of message links of one span. The SDK's default limit is the same.
pub const MAX_LINKS: usize = 128;

/// The capacity reserved for attributes of the operation and the message. Most transports add fewer.
const ROOM: usize = 10;

/// The builder of an operation, returned by the methods of [`Destination`](crate::Destination).
pub struct OperationBuilder<'a> {
    destination: &'a Arc<PreparedDestination>,
    operation: OperationName,
    operation_type: Option<OperationType>,
    awaits_reply: bool,
    error_if_dropped: Option<&'static str>,
    started: Option<StartTime>,
    existing: ExistingContext,
    parent_mode: ParentMode,
    pub(crate) message: Option<&'a Context>,
    links: Vec<Link>,
    left_out: usize,
    /// The number of messages; `None` outside of batch APIs.
    count: Option<usize>,
}

impl<'a> OperationBuilder<'a> {
    #[inline]
    pub(crate) fn new(
        destination: &'a Arc<PreparedDestination>,
        operation: &'static str,
        operation_type: Option<OperationType>,
    ) -> Self {
        let options = &destination.client.options;
        Self {
            destination,
            operation: OperationName(operation),
            operation_type,
            awaits_reply: false,
            error_if_dropped: None,
            started: None,
            existing: options.existing_context,
            parent_mode: options.parent_mode,
            message: None,
            links: Vec::new(),
            left_out: 0,
            count: None,
        }
    }

    /// Makes a `send` operation one that waits for the reply.
    pub(crate) fn awaiting_reply(mut self) -> Self {
        self.awaits_reply = true;
        self
    }

    pub(crate) fn destination(&self) -> &'a PreparedDestination {
        self.destination
    }

    /// Sets the start time of the operation. Default: the time at which [`start`](Self::start) is called.
    #[must_use]
    #[inline]
    pub fn with_started(mut self, started: StartTime) -> Self {
        self.started = Some(started);
        self
    }

    /// Sets the context that a single message carries, as returned by
    /// [`MessagingInstrumentation::extract`](crate::MessagingInstrumentation::extract). The span links to it. A `process` span may use it as its
    /// parent ([`ParentMode`](crate::ParentMode)); for `send`, see [`ExistingContext`].
    #[must_use]
    #[inline]
    pub fn with_message(mut self, context: &'a Context) -> Self {
        self.message = Some(context);
        self
    }

    /// Sets the messages of a batch call: one link per message, or `None` for a message without a context. Attributes
    /// whose values differ between the messages belong on the links.
    ///
    /// Only the first [`MAX_LINKS`] messages are read. `messaging.batch.links_left_out` records the number of the
    /// others.
    #[must_use]
    #[inline]
    pub fn with_batch<I>(self, messages: I) -> Self
    where
        I: IntoIterator<Item = Option<Link>, IntoIter: ExactSizeIterator>,
    {
        let messages = messages.into_iter();
        let count = messages.len();
        self.with_links(count, messages)
    }

    /// Sets the messages of a batch, of which there are `count`.
    pub(crate) fn with_links(mut self, count: usize, messages: impl Iterator<Item = Option<Link>>) -> Self {
        let links = messages.take(MAX_LINKS).flatten();
        self.links.extend(links.filter(|link| link.span_context.is_valid()));
        self.left_out = count.saturating_sub(MAX_LINKS);
        self.count = Some(count);
        self
    }

    /// Sets the number of messages of a batch call whose contexts are unknown.
    #[must_use]
    #[inline]
    pub fn with_message_count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    /// Overrides the client's [`ExistingContext`] for this operation. Use `Preserve` for a batch whose messages have
    /// `create` spans.
    #[must_use]
    #[inline]
    pub fn with_existing_context(mut self, existing: ExistingContext) -> Self {
        self.existing = existing;
        self
    }

    /// Overrides the client's [`ParentMode`] for this `process` operation. Use `LinkOnly` for a message that is known
    /// to be old.
    #[must_use]
    #[inline]
    pub fn with_parent_mode(mut self, mode: ParentMode) -> Self {
        self.parent_mode = mode;
        self
    }

    /// Sets the `error.type` of an operation that is dropped before it has finished. Default: `cancelled`. Use `unknown`
    /// where the broker may have done its part by then.
    #[must_use]
    #[inline]
    pub fn with_error_if_dropped(mut self, error_type: &'static str) -> Self {
        self.error_if_dropped = Some(error_type);
        self
    }

    /// Returns true if a message keeps the context that it carries.
    pub(crate) fn preserves_context(&self) -> bool {
        self.existing == ExistingContext::Preserve
    }

    /// Starts the operation. `current` is the application's current context, usually `Context::current()`.
    ///
    /// `attributes` adds the attributes of the message. It is called at most once, and only if the span records or a
    /// sampler reads attributes. If the client's filter excludes the destination, the operation is inert: it records
    /// nothing, and its context is the one that its span would have had for a parent.
    #[inline]
    pub fn start(
        self,
        current: &Context,
        attributes: impl FnOnce(&mut MessageAttributes),
    ) -> MessagingOperation {
        self.start_by(current, attributes, Plain)
    }

    #[inline]
    pub(crate) fn start_by(
        self,
        current: &Context,
        attributes: impl FnOnce(&mut MessageAttributes),
        starter: impl Starter,
    ) -> MessagingOperation {
        let destination = self.destination;
        let options = &destination.client.options;
        let message = self.message.filter(|context| policy::is_valid(context));
        let carries = message.is_some() || !self.links.is_empty();
        let (kind, injects) = policy::kind(self.operation_type, self.awaits_reply, self.existing, carries);
        let parent = match (self.operation_type, self.message) {
            (Some(OperationType::Process), Some(message)) => self.parent_mode.parent(current, message),
            _ => Cow::Borrowed(current),
        };
        if !destination.recorded || destination.client.records_nothing() {
            return MessagingOperation::inert(parent.into_owned(), destination, injects);
        }
        let started = self.started.unwrap_or_else(StartTime::now);
        let state = OperationState {
            destination: Arc::clone(destination),
            operation: self.operation,
            operation_type: self.operation_type,
            messages: messages(self.operation_type, self.count, self.message.is_some()),
            injects,
            context_dropped: false,
            error_if_dropped: self.error_if_dropped,
        };
        // A span under an unsampled parent rarely records. Its link is added after the start, and only if it does
        // record, to avoid cloning the span context.
        let early = options.sampler_attributes == SamplerAttributes::Always || {
            let parent = parent.span();
            let parent = parent.span_context();
            parent.is_sampled() || !parent.is_valid()
        };
        let (operation, operation_type) = (self.operation, self.operation_type);
        let links = self.links;
        let start = || {
            let mut start = SpanStart::new(destination.span_name(operation), kind, started.time)
                .with_sampler_attributes(options.sampler_attributes);
            for link in links {
                start = start.with_link(link);
            }
            match (early, message) {
                (true, Some(message)) => {
                    start.with_link(Link::with_context(message.span().span_context().clone()))
                }
                _ => start,
            }
        };
        let (count, left_out) = (self.count, self.left_out);
        let build = || {
            let prepared: &[KeyValue] = &destination.attributes;
            let mut list = Vec::with_capacity(prepared.len() + ROOM);
            list.push(KeyValue::new(OPERATION_NAME, operation.0));
            list.extend(
                operation_type.map(|operation_type| KeyValue::new(OPERATION_TYPE, operation_type.as_str())),
            );
            list.extend_from_slice(prepared);
            list.extend(count.map(|count| number(BATCH_MESSAGE_COUNT, count)));
            if left_out > 0 {
                list.push(number(BATCH_LINKS_LEFT_OUT, left_out));
            }
            let mut list = MessageAttributes { list, sizes: options.message_sizes };
            attributes(&mut list);
            list.list
        };
        let running = starter.start(start, &parent, started, state, build);
        if let (false, Some(message), Some(span)) = (early, message, running.recording()) {
            span.add_link(message.span().span_context().clone(), Vec::new());
        }
        MessagingOperation::recorded(running)
    }
}

/// The start of an operation and its span.
pub(crate) trait Starter {
    fn start(
        self,
        start: impl FnOnce() -> SpanStart,
        parent: &Context,
        started: StartTime,
        state: OperationState,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Operation<OperationState>;
}

struct Plain;

impl Starter for Plain {
    #[inline]
    fn start(
        self,
        start: impl FnOnce() -> SpanStart,
        parent: &Context,
        started: StartTime,
        state: OperationState,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Operation<OperationState> {
        let destination = Arc::clone(&state.destination);
        Operation::start(&destination.client.tracer, start, parent, started, state, attributes)
    }
}

/// Returns the number of messages to count. A `receive` operation without a message counts none.
fn messages(operation: Option<OperationType>, count: Option<usize>, one: bool) -> u32 {
    match count {
        Some(count) => u32::try_from(count).unwrap_or(u32::MAX),
        None if operation == Some(OperationType::Receive) => u32::from(one),
        None => 1,
    }
}

fn number(key: &'static str, number: usize) -> KeyValue {
    KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX))
}

impl fmt::Debug for OperationBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationBuilder")
            .field("operation", &self.operation.0)
            .field("operation_type", &self.operation_type)
            .field("target", &self.destination.target)
            .field("messages", &self.count)
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}
