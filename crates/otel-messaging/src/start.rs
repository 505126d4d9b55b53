//! Starting an operation: its parent, its links, its attributes, at the least cost where nobody sees the span.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Spans": creation contexts
//! are linked, and a batch says how many messages it has.

use std::borrow::Cow;
use std::fmt;

use opentelemetry::trace::{Link, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, SamplerAttributes, SpanStart, StartTime};

use crate::attributes::{
    BATCH_LINKS_LEFT_OUT, BATCH_MESSAGE_COUNT, OPERATION_NAME, OPERATION_TYPE, SpanAttributes,
};
use crate::destination::Destination;
use crate::operation::{MessagingOperation, MessagingRecord, OperationName, OperationType};
use crate::policy::{self, ExistingContext, ParentMode};

/// The links that one span gets at most, which is also the SDK's default limit.
pub const MAX_LINKS: usize = 128;

/// Attributes of an operation, beside those of its destination: more than most transports add.
const ROOM: usize = 10;

/// An operation that is about to start: made by the methods of [`Destination`].
pub struct Start<'a> {
    destination: &'a Destination,
    operation: OperationName,
    operation_type: Option<OperationType>,
    started: Option<StartTime>,
    existing: ExistingContext,
    parent_mode: ParentMode,
    message: Option<&'a Context>,
    links: Vec<Link>,
    left_out: usize,
    /// How many messages there are; `None` without a batch API.
    count: Option<usize>,
}

impl<'a> Start<'a> {
    #[inline]
    pub(crate) fn new(
        destination: &'a Destination,
        operation: &'static str,
        operation_type: Option<OperationType>,
    ) -> Self {
        Self {
            destination,
            operation: OperationName(operation),
            operation_type,
            started: None,
            existing: destination.options().existing_context,
            parent_mode: destination.options().parent_mode,
            message: None,
            links: Vec::new(),
            left_out: 0,
            count: None,
        }
    }

    /// The operation began at that time, and not only now.
    #[must_use]
    #[inline]
    pub fn with_started(mut self, started: StartTime) -> Self {
        self.started = Some(started);
        self
    }

    /// The context that the one message carries, as [`Messaging::extract`](crate::Messaging::extract) reads it. The
    /// span links to it; for `process` it may be the parent ([`ParentMode`](crate::ParentMode)), for `send` see
    /// [`ExistingContext`].
    #[must_use]
    #[inline]
    pub fn with_message(mut self, context: &'a Context) -> Self {
        self.message = Some(context);
        self
    }

    /// The operation is about these messages, by a batch API: one link each, `None` for a message that carries no
    /// context. Links say by their attributes in what messages differ.
    ///
    /// The first [`MAX_LINKS`] messages are looked at; the number of the others stands in
    /// `messaging.batch.links_left_out`.
    #[must_use]
    #[inline]
    pub fn with_batch<I>(mut self, messages: I) -> Self
    where
        I: IntoIterator<Item = Option<Link>, IntoIter: ExactSizeIterator>,
    {
        let messages = messages.into_iter();
        let count = messages.len();
        let links = messages.take(MAX_LINKS).flatten();
        self.links.extend(links.filter(|link| link.span_context.is_valid()));
        self.left_out = count.saturating_sub(MAX_LINKS);
        self.count = Some(count);
        self
    }

    /// The operation is about so many messages, by a batch API, and their contexts are not known.
    #[must_use]
    #[inline]
    pub fn with_message_count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    /// What becomes of contexts that the messages carry, other than the client's options say: `Preserve` for a batch
    /// whose messages have `create` spans.
    #[must_use]
    #[inline]
    pub fn with_existing_context(mut self, existing: ExistingContext) -> Self {
        self.existing = existing;
        self
    }

    /// Which span is the parent of this `process` span, other than the client's options say: `LinkOnly` for a message
    /// that is known to be old.
    #[must_use]
    #[inline]
    pub fn with_parent_mode(mut self, mode: ParentMode) -> Self {
        self.parent_mode = mode;
        self
    }

    /// Starts the operation. `current` is the context that is current in the application, most often
    /// `Context::current()`.
    ///
    /// `attributes` adds what the transport knows of the message. It is called at most once, and only where a span
    /// records or a sampler looks at it. `None` is returned where the client's filter leaves the destination out:
    /// then nothing is recorded, and nothing is to be written into the message.
    #[inline]
    pub fn start(
        self,
        current: &Context,
        attributes: impl FnOnce(&mut SpanAttributes),
    ) -> Option<MessagingOperation> {
        let destination = self.destination;
        if !destination.is_recorded() {
            return None;
        }
        let options = destination.options();
        let started = self.started.unwrap_or_else(StartTime::now);
        let message = self.message.filter(|context| policy::is_valid(context));
        let carries = message.is_some() || !self.links.is_empty();
        let (kind, injects) = policy::kind(self.operation_type, self.existing, carries);
        let parent = match (self.operation_type, self.message) {
            (Some(OperationType::Process), Some(message)) => {
                policy::process_parent(self.parent_mode, current, message)
            }
            _ => Cow::Borrowed(current),
        };
        let mut start = SpanStart::new(destination.span_name(self.operation), kind, started.time)
            .with_sampler_attributes(options.sampler_attributes);
        for link in self.links {
            start = start.with_link(link);
        }
        // Under a parent that is not sampled a link would be made for nobody.
        let early = options.sampler_attributes == SamplerAttributes::Always || {
            let parent = parent.span();
            let parent = parent.span_context();
            parent.is_sampled() || !parent.is_valid()
        };
        if let (true, Some(message)) = (early, message) {
            start = start.with_link(Link::with_context(message.span().span_context().clone()));
        }
        let record = MessagingRecord {
            destination: destination.clone(),
            operation: self.operation,
            operation_type: self.operation_type,
            messages: messages(self.operation_type, self.count, self.message.is_some()),
            injects,
        };
        let (operation, operation_type) = (self.operation, self.operation_type);
        let (count, left_out) = (self.count, self.left_out);
        let build = || {
            let prepared = destination.attributes();
            let mut list = Vec::with_capacity(prepared.len() + ROOM);
            list.push(KeyValue::new(OPERATION_NAME, operation.0));
            list.extend(operation_type.map(|told| KeyValue::new(OPERATION_TYPE, told.as_str())));
            list.extend_from_slice(prepared);
            list.extend(count.map(|count| number(BATCH_MESSAGE_COUNT, count)));
            if left_out > 0 {
                list.push(number(BATCH_LINKS_LEFT_OUT, left_out));
            }
            let mut list = SpanAttributes { list, sizes: options.message_sizes };
            attributes(&mut list);
            list.list
        };
        let running = Operation::start(&destination.core().tracer, start, &parent, started, record, build);
        if let (false, Some(message), Some(span)) = (early, message, running.recording()) {
            span.add_link(message.span().span_context().clone(), Vec::new());
        }
        Some(running)
    }
}

/// How many messages an operation counts. What is received need not be there.
fn messages(operation: Option<OperationType>, count: Option<usize>, one: bool) -> u64 {
    match count {
        Some(count) => count as u64,
        None if operation == Some(OperationType::Receive) => u64::from(one),
        None => 1,
    }
}

fn number(key: &'static str, number: usize) -> KeyValue {
    KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX))
}

impl fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("operation", &self.operation.0)
            .field("operation_type", &self.operation_type)
            .field("destination", &self.destination)
            .field("messages", &self.count)
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}
