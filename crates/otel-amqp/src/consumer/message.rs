//! A received message, and the spans of receiving, processing and settling it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": the
//! application starts `process` spans through this type, and they link to the message's creation context.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Result};
use opentelemetry::KeyValue;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, carried_context,
    record_received, start_processing, start_settling,
};
use otel_operation::StartTime;
use otel_propagation::HeaderReader;

use crate::attributes::{Address, delivery_tag, is_from_stream, of_delivered, set_settlement};
use crate::carrier::HeaderExtractor;
use crate::consumer::Source;
use crate::outcome;

/// The client's names for settling.
pub(crate) const ACK: &str = "ack";
pub(crate) const NACK: &str = "nack";
pub(crate) const REJECT: &str = "reject";

/// lapin's `Delivery`, with methods that record processing. It dereferences to its [`Acker`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The number of the delivery in its channel.
    pub delivery_tag: u64,
    /// The exchange to which the message was published; empty for the default exchange.
    pub exchange: ShortString,
    /// The routing key with which the message was published.
    pub routing_key: ShortString,
    /// True if the message was delivered before, and not acknowledged.
    pub redelivered: bool,
    /// The properties of the message, with its headers.
    pub properties: BasicProperties,
    /// The payload.
    pub data: Vec<u8>,
    /// The settlement of the message.
    pub acker: Acker,
}

impl Delivery {
    /// Records a message that the client has delivered.
    pub(crate) fn received(
        inner: lapin::message::Delivery,
        source: &Source,
        operation: &'static str,
        wait: Option<StartTime>,
    ) -> Self {
        let lapin::message::Delivery {
            delivery_tag,
            exchange,
            routing_key,
            redelivered,
            properties,
            data,
            acker,
        } = inner;
        let Source { destination, queue } = source.clone();
        let message = Arc::new(ReceivedMessage {
            destination,
            queue,
            tag: delivery_tag,
            carried: CarriedContext::new(),
        });
        let acker = Acker { inner: acker, message };
        let delivery = Self { delivery_tag, exchange, routing_key, redelivered, properties, data, acker };
        record_received(&delivery, operation, wait);
        // Read now, because the acker can outlive the headers, to which its settlement links.
        let _ = carried_context(&delivery);
        delivery
    }

    /// Runs `handler` on the message inside a `process` span, whose context is current in the handler. A reply that the
    /// handler publishes belongs to the requester's trace.
    ///
    /// The span ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled` if this future is
    /// dropped, or as `panic` if the handler panics. Settling the message is a span of its own.
    ///
    /// ```
    /// use lapin::options::BasicAckOptions;
    /// use otel_amqp::Delivery;
    ///
    /// async fn handle(delivery: &Delivery) -> lapin::Result<bool> {
    ///     delivery.process(async |delivery| println!("{:?}", delivery.data)).await;
    ///     delivery.ack(BasicAckOptions::default()).await
    /// }
    /// ```
    pub async fn process<T: HandlerOutcome>(&self, handler: impl AsyncFnOnce(&Self) -> T) -> T {
        // The handler is called inside the operation, because it may run code before it returns its future.
        self.processing().run(async { handler(self).await }).await
    }

    /// Starts the `process` span of the message, for handlers that are not closures or not async.
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }
}

impl InboundMessage for Delivery {
    fn destination(&self) -> &Destination {
        &self.acker.message.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::new(self.properties.headers().as_ref())
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.acker.message.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        let Self { exchange, routing_key, redelivered, properties, data, .. } = self;
        let address = Address { exchange: exchange.as_str(), routing_key: routing_key.as_str() };
        let queue = self.acker.message.queue.as_str();
        of_delivered(attributes, address, queue, *redelivered, properties, data);
        attributes.push(delivery_tag(self.delivery_tag));
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        self.acker.message.identify(attributes);
    }

    /// The broker keeps the sender's timestamp, in seconds, which can be any number.
    fn written_at(&self) -> Option<SystemTime> {
        let seconds = Duration::from_secs((*self.properties.timestamp())?);
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    }

    fn is_replayed(&self) -> bool {
        is_from_stream(&self.properties)
    }
}

impl Deref for Delivery {
    type Target = Acker;

    fn deref(&self) -> &Self::Target {
        &self.acker
    }
}

/// lapin's `BasicGetMessage`: a delivery, and the number of messages that are left in the queue.
#[derive(Debug)]
#[non_exhaustive]
pub struct BasicGetMessage {
    /// The message.
    pub delivery: Delivery,
    /// The number of messages that are left in the queue.
    pub message_count: u32,
}

impl Deref for BasicGetMessage {
    type Target = Delivery;

    fn deref(&self) -> &Self::Target {
        &self.delivery
    }
}

impl DerefMut for BasicGetMessage {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.delivery
    }
}

/// lapin's `Acker`, whose settlements are spans that link to the message. Cloning is cheap.
///
/// lapin sends one settlement for each delivery. The span of one that is not sent, because the delivery was settled or
/// its channel is closed, has the `error.type` `not_sent`.
#[derive(Clone, Debug)]
pub struct Acker {
    inner: lapin::Acker,
    message: Arc<ReceivedMessage>,
}

impl Acker {
    /// Acknowledges the message, inside an `ack` span. Returns false if the settlement was not sent.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn ack(&self, options: BasicAckOptions) -> Result<bool> {
        self.settle(ACK, options.multiple, None, self.inner.ack(options)).await
    }

    /// Rejects the message, inside a `nack` span. Returns false if the settlement was not sent.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn nack(&self, options: BasicNackOptions) -> Result<bool> {
        self.settle(NACK, options.multiple, Some(options.requeue), self.inner.nack(options)).await
    }

    /// Rejects the message, inside a `reject` span. Returns false if the settlement was not sent.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn reject(&self, options: BasicRejectOptions) -> Result<bool> {
        self.settle(REJECT, false, Some(options.requeue), self.inner.reject(options)).await
    }

    /// Returns true if the channel is closed.
    #[must_use]
    pub fn poisoned(&self) -> bool {
        self.inner.poisoned()
    }

    /// Returns true if the message can still be settled.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.inner.usable()
    }

    async fn settle(
        &self,
        name: &'static str,
        multiple: bool,
        requeue: Option<bool>,
        sent: impl Future<Output = Result<bool>>,
    ) -> Result<bool> {
        let settle = start_settling(&*self.message, name);
        if let Some(span) = settle.recording() {
            set_settlement(&span, multiple, requeue);
        }
        settle.run_with(sent, outcome::of_settlement).await
    }
}

/// The parts of a message that its settlement records.
#[derive(Debug)]
struct ReceivedMessage {
    destination: Destination,
    queue: ShortString,
    tag: u64,
    carried: CarriedContext,
}

impl InboundMessage for ReceivedMessage {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Nothing: the context was read when the message was received.
    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::new(None)
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, _: &mut MessageAttributes) {}

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        attributes.push(delivery_tag(self.tag));
    }
}
