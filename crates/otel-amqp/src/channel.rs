//! The channel: consuming, settlement by delivery tag, and transactions. Publishing is in `producer.rs`.
//!
//! Follows the [semantic conventions for
//! RabbitMQ](https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/).

use std::ops::Deref;
use std::sync::Arc;

use lapin::Result;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use opentelemetry::Context;
use otel_messaging::{MessagingOperation, record_receive_error, start_processing_batch};

use crate::amqp::ClientInstrumentation;
use crate::attributes::{Queue, delivery_tag, set_settlement};
use crate::consumer::{ACK, BasicGetMessage, Consumer, Delivery, GET, NACK, REJECT, Source};
use crate::outcome;
use crate::producer::SentMessages;

/// lapin's `Channel`, to which it dereferences for declarations and bindings. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Channel {
    pub(crate) inner: lapin::Channel,
    pub(crate) amqp: ClientInstrumentation,
    /// The largest frame, in bytes; 0 without a limit.
    pub(crate) frame_max: u32,
    pub(crate) sent: Arc<SentMessages>,
}

impl Channel {
    pub(crate) fn new(
        inner: lapin::Channel,
        amqp: ClientInstrumentation,
        connection: &lapin::Connection,
    ) -> Self {
        let frame_max = connection.configuration().frame_max();
        let sent = SentMessages::new(connection.status().clone(), amqp.messaging().clone());
        Self { inner, amqp, frame_max, sent: Arc::new(sent) }
    }

    /// Consumes from a queue. The stream of deliveries ends when the consumer is cancelled, by this side or by the broker.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn basic_consume(
        &self,
        queue: ShortString,
        consumer_tag: ShortString,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> Result<Consumer> {
        let source = self.source(queue.clone());
        let inner = self.inner.basic_consume(queue, consumer_tag, options, arguments).await?;
        Ok(Consumer::new(inner, self.amqp.clone(), source))
    }

    /// Gets one message, if the queue has one. With [`Options::with_receive_spans`](crate::Options::with_receive_spans) a
    /// message has a `receive` span.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn basic_get(
        &self,
        queue: ShortString,
        options: BasicGetOptions,
    ) -> Result<Option<BasicGetMessage>> {
        let source = self.source(queue.clone());
        let wait = self.amqp.messaging().receive_start();
        match self.inner.basic_get(queue, options).await {
            Ok(received) => Ok(received.map(|message| {
                let message_count = message.message_count;
                let delivery = Delivery::received(message.delivery, &source, GET, wait);
                BasicGetMessage { delivery, message_count }
            })),
            Err(error) => {
                record_receive_error(self.amqp.messaging(), GET, wait, &outcome::of_error(&error));
                Err(error)
            }
        }
    }

    /// Starts one `process` span for several messages. The span links to each message, and records their number.
    pub fn processing_batch(&self, messages: &[Delivery]) -> MessagingOperation {
        start_processing_batch(self.amqp.messaging(), messages)
    }

    /// Acknowledges deliveries by their tag, inside an `ack` span. [`Acker::ack`](crate::Acker::ack) links the span to the
    /// message as well.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn basic_ack(&self, tag: u64, options: BasicAckOptions) -> Result<()> {
        let sent = self.inner.basic_ack(tag, options);
        self.settle(ACK, tag, options.multiple, None, sent).await
    }

    /// Rejects deliveries by their tag, inside a `nack` span.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn basic_nack(&self, tag: u64, options: BasicNackOptions) -> Result<()> {
        let sent = self.inner.basic_nack(tag, options);
        self.settle(NACK, tag, options.multiple, Some(options.requeue), sent).await
    }

    /// Rejects a delivery by its tag, inside a `reject` span.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn basic_reject(&self, tag: u64, options: BasicRejectOptions) -> Result<()> {
        let sent = self.inner.basic_reject(tag, options);
        self.settle(REJECT, tag, false, Some(options.requeue), sent).await
    }

    /// Puts the channel into the mode of transactions, inside a `tx_select` span. The broker confirms no message of such
    /// a channel.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn tx_select(&self) -> Result<()> {
        self.transact("tx_select", self.inner.tx_select()).await
    }

    /// Commits the transaction, inside a `tx_commit` span.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn tx_commit(&self) -> Result<()> {
        self.transact("tx_commit", self.inner.tx_commit()).await
    }

    /// Rolls the transaction back, inside a `tx_rollback` span.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn tx_rollback(&self) -> Result<()> {
        self.transact("tx_rollback", self.inner.tx_rollback()).await
    }

    async fn transact(&self, name: &'static str, answer: impl Future<Output = Result<()>>) -> Result<()> {
        let operation = self.amqp.messaging().no_destination().custom(name);
        operation.start(&Context::current(), |_| {}).run_with(answer, outcome::of_result).await
    }

    async fn settle(
        &self,
        name: &'static str,
        tag: u64,
        multiple: bool,
        requeue: Option<bool>,
        sent: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let settle = self.amqp.messaging().no_destination().settle(name);
        let settle = settle.start(&Context::current(), |attributes| {
            attributes.push(delivery_tag(tag));
        });
        if let Some(span) = settle.recording() {
            set_settlement(&span, multiple, requeue);
        }
        settle.run_with(sent, outcome::of_result).await
    }

    fn source(&self, queue: ShortString) -> Source {
        Source { destination: self.amqp.consumed(Queue(queue.as_str())), queue }
    }
}

impl Deref for Channel {
    type Target = lapin::Channel;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
