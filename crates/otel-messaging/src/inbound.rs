//! Received messages: receiving, processing and settling them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! operation links to the creation contexts of its messages; values that differ in a batch are on the links.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::{Context, KeyValue};
use otel_operation::{Outcome, ParentMode, StartTime};
use otel_propagation::HeaderReader;

use crate::attributes::{MESSAGE_AGE, MessageAttributes, common_value, partition_id};
use crate::carried_context::CarriedContext;
use crate::destination::Destination;
use crate::instrumentation::MessagingInstrumentation;
use crate::operation::MessagingOperation;

/// The name of the operation that handles messages, which is the same for all brokers.
const PROCESS: &str = "process";

/// A received message, as a transport delivers it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a received message of an instrumented client",
    note = "use the message type of the instrumentation crate, which wraps the one of the client library"
)]
pub trait InboundMessage {
    /// Returns the destination from which the message was received.
    fn destination(&self) -> &Destination;

    /// Returns the headers of the message.
    fn headers(&self) -> impl HeaderReader + '_;

    /// Returns the place for the context that the message carries.
    fn carried_context(&self) -> &CarriedContext;

    /// Adds the attributes of the message. Called only if a span records or a sampler reads them.
    fn describe(&self, attributes: &mut MessageAttributes);

    /// Adds the attributes that identify the message at the broker, such as an offset or a delivery tag, without the
    /// partition. They are recorded on its settlement, and in a batch on its link.
    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        let _ = attributes;
    }

    /// Returns the partition, if the broker has partitions. Default: none.
    fn partition(&self) -> Option<i64> {
        None
    }

    /// Returns the time at which the message was sent, if the broker records one. Default: none.
    fn written_at(&self) -> Option<SystemTime> {
        None
    }

    /// Returns true for a message that is known to be old, such as a replayed one: its `process` span links to its
    /// producer and never becomes a child of it. Default: false.
    fn is_replayed(&self) -> bool {
        false
    }
}

/// A message that is shared, such as by a handler and the settlement after it.
impl<M: InboundMessage> InboundMessage for Arc<M> {
    fn destination(&self) -> &Destination {
        (**self).destination()
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        (**self).headers()
    }

    fn carried_context(&self) -> &CarriedContext {
        (**self).carried_context()
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        (**self).describe(attributes);
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        (**self).identify(attributes);
    }

    fn partition(&self) -> Option<i64> {
        (**self).partition()
    }

    fn written_at(&self) -> Option<SystemTime> {
        (**self).written_at()
    }

    fn is_replayed(&self) -> bool {
        (**self).is_replayed()
    }
}

/// Reads the context that a message carries, at the first call.
pub fn carried_context<M: InboundMessage>(message: &M) -> &Context {
    let client = &message.destination().0.client;
    message.carried_context().get_or_read(|| client.extract(&message.headers()))
}

/// Records a delivery: counts the message as consumed, and records a `receive` span if the wait for the message has a
/// start ([`MessagingInstrumentation::receive_start`]). Call it once per delivery. `operation` is the broker's name for
/// receiving.
pub fn record_received<M: InboundMessage>(message: &M, operation: &'static str, start: Option<StartTime>) {
    let destination = message.destination();
    match start {
        Some(start) if destination.is_recorded() => {
            let receive = destination.receive(operation).with_started(start);
            let receive = receive.with_message(carried_context(message));
            receive
                .start(&Context::current(), |attributes| message.describe(attributes))
                .finish(&Outcome::ok());
        }
        _ => destination.count_consumed(operation, 1),
    }
}

/// Records a failed receive as a `receive` span, if the wait has a start.
pub fn record_receive_error(
    client: &MessagingInstrumentation,
    operation: &'static str,
    start: Option<StartTime>,
    outcome: &Outcome,
) {
    if let Some(start) = start {
        let receive = client.no_destination().receive(operation).with_started(start);
        receive.start(&Context::current(), |_| {}).finish(outcome);
    }
}

/// Starts the `process` operation of one message.
pub fn start_processing<M: InboundMessage>(message: &M) -> MessagingOperation {
    let destination = message.destination();
    if destination.0.client.is_idle() {
        return MessagingOperation::idle();
    }
    let mut process = destination.process(PROCESS).with_message(carried_context(message));
    if message.is_replayed() {
        process = process.with_parent_mode(ParentMode::LinkOnly);
    }
    let ages = destination.0.client.options.message_age;
    process.start(&Context::current(), |attributes| {
        message.describe(attributes);
        if ages && let Some(written) = message.written_at() {
            // A message that comes from the future, by this clock, has no age yet.
            let age = SystemTime::now().duration_since(written).unwrap_or_default();
            attributes.push(KeyValue::new(MESSAGE_AGE, age.as_secs_f64()));
        }
    })
}

/// Starts one `process` operation for several messages. The span links to each message whose destination is recorded,
/// and records their number and the attributes that they share. If none of them is recorded, the operation is inert.
pub fn start_processing_batch<'m, M, I>(client: &MessagingInstrumentation, messages: I) -> MessagingOperation
where
    M: InboundMessage + 'm,
    I: IntoIterator<Item = &'m M, IntoIter: Clone>,
{
    let messages = messages.into_iter();
    let recorded = messages.clone().filter(|message| message.destination().is_recorded());
    let mut destinations = recorded.clone().map(|message| message.destination());
    let first = match destinations.next() {
        Some(first) => Some(first),
        None => messages.clone().next().map(|message| message.destination()),
    };
    let common = first.filter(|first| destinations.all(|other| other.is_same(first)));
    let destination = common.unwrap_or_else(|| client.no_destination());
    let count = recorded.clone().count();
    let partition =
        common.and_then(|_| common_value(recorded.clone().map(InboundMessage::partition)).flatten());
    let links = recorded.map(|message| {
        let mut attributes = Vec::new();
        message.identify(&mut attributes);
        if partition.is_none() {
            attributes.extend(message.partition().and_then(partition_id));
        }
        linked_context(message, |context| otel_propagation::link_to(context, attributes))
    });
    let process = destination.process(PROCESS).with_links(count, links);
    process.start(&Context::current(), |attributes| {
        if let Some(partition) = partition {
            attributes.partition_id(partition);
        }
    })
}

/// Starts the settlement of one message. `operation` is the broker's name for it.
pub fn start_settling<M: InboundMessage>(message: &M, operation: &'static str) -> MessagingOperation {
    let destination = message.destination();
    if destination.0.client.is_idle() {
        return MessagingOperation::idle();
    }
    let attributes = |attributes: &mut MessageAttributes| {
        attributes.list.extend(message.partition().and_then(partition_id));
        message.identify(&mut attributes.list);
    };
    let settle = destination.settle(operation);
    if !destination.is_recorded() {
        return settle.start(&Context::current(), attributes);
    }
    linked_context(message, |context| settle.with_message(context).start(&Context::current(), attributes))
}

/// Passes on the context that a message carries, for a link. Its baggage is not parsed unless it was before.
fn linked_context<M: InboundMessage, T>(message: &M, link: impl FnOnce(&Context) -> T) -> T {
    match message.carried_context().get() {
        Some(context) => link(context),
        None => link(&message.destination().0.client.extract_without_baggage(&message.headers())),
    }
}
