//! A received message, and the spans of receiving and processing it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": the
//! application starts `process` spans through this type, and they link to the message's creation context.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, record_receive_error,
    record_received, start_processing,
};
use otel_operation::StartTime;
use otel_propagation::HeaderReader;
use rdkafka::Message as _;
use rdkafka::Timestamp;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message as bare;

use crate::attributes::{of_message, offset};
use crate::carrier::HeaderExtractor;
use crate::consumer::owned_message::OwnedMessage;
use crate::kafka::ClientInstrumentation;
use crate::outcome;

/// Kafka's name for receiving.
const POLL: &str = "poll";

/// rdkafka's `BorrowedMessage`, to which it dereferences, with methods that record processing.
pub struct BorrowedMessage<'a> {
    inner: bare::BorrowedMessage<'a>,
    kafka: &'a ClientInstrumentation,
    /// Looked up at the first use: not at all while nothing is installed.
    topic: OnceLock<Destination>,
    carried: CarriedContext,
}

impl<'a> BorrowedMessage<'a> {
    /// Runs `handler` on the message inside a `process` span, whose context is current in the handler.
    ///
    /// The span ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled` if this future is
    /// dropped, or as `panic` if the handler panics. Settling the message is not part of the span.
    ///
    /// ```
    /// use otel_kafka::StreamConsumer;
    /// use rdkafka::Message;
    /// use rdkafka::consumer::{CommitMode, Consumer};
    /// use rdkafka::error::KafkaError;
    ///
    /// async fn one(consumer: &StreamConsumer) -> Result<(), KafkaError> {
    ///     let message = consumer.recv().await?;
    ///     let handled: Result<usize, std::str::Utf8Error> = message
    ///         .process(async |message| Ok(std::str::from_utf8(message.payload().unwrap_or_default())?.len()))
    ///         .await;
    ///     if handled.is_ok() {
    ///         consumer.commit_message(&message, CommitMode::Async)?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn process<T: HandlerOutcome>(
        &self,
        handler: impl for<'x, 'y> AsyncFnOnce(&'x bare::BorrowedMessage<'y>) -> T,
    ) -> T {
        if self.topic.get().is_none() && self.kafka.messaging().is_idle() {
            return handler(&self.inner).await;
        }
        // The handler is called inside the operation, because it may run code before it returns its future.
        self.processing().run(async { handler(&self.inner).await }).await
    }

    /// Copies the message, so that it can be processed later or by another thread.
    ///
    /// ```
    /// use otel_kafka::{BorrowedMessage, OwnedMessage};
    ///
    /// fn hand_over(message: &BorrowedMessage<'_>, worker: &std::sync::mpsc::Sender<OwnedMessage>) {
    ///     let _ = worker.send(message.detach());
    /// }
    /// ```
    #[must_use]
    pub fn detach(&self) -> OwnedMessage {
        OwnedMessage::new(self.inner.detach(), self.destination().clone(), self.carried.clone())
    }

    /// Starts the `process` span of the message, for handlers that are not closures or not async.
    ///
    /// ```
    /// use otel_kafka::{BaseConsumer, Outcome};
    /// use rdkafka::Message;
    ///
    /// fn one(consumer: &BaseConsumer) {
    ///     let Some(Ok(message)) = consumer.poll(None) else { return };
    ///     let mut processing = message.processing();
    ///     let handled = processing.inside(|| message.payload().is_some());
    ///     processing.finish(&if handled { Outcome::ok() } else { Outcome::error("empty") });
    /// }
    /// ```
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }
}

impl InboundMessage for BorrowedMessage<'_> {
    fn destination(&self) -> &Destination {
        self.topic.get_or_init(|| self.kafka.topic(self.inner.topic()))
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::from_message(&self.inner)
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        describe(&self.inner, attributes);
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        attributes.extend(offset(self.offset()));
    }

    fn partition(&self) -> Option<i64> {
        Some(i64::from(self.inner.partition()))
    }

    fn written_at(&self) -> Option<SystemTime> {
        written_at(self.timestamp())
    }
}

pub(crate) fn describe(message: &impl bare::Message, attributes: &mut MessageAttributes) {
    of_message(attributes, Some(message.partition()), message.key(), message.payload());
    if let Some(offset) = offset(message.offset()) {
        attributes.push(offset);
    }
}

pub(crate) fn written_at(timestamp: Timestamp) -> Option<SystemTime> {
    let millis = u64::try_from(timestamp.to_millis()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// Records a message that rdkafka has returned, or the error of receiving.
pub(crate) fn received<'a>(
    kafka: &'a ClientInstrumentation,
    start: Option<StartTime>,
    result: KafkaResult<bare::BorrowedMessage<'a>>,
) -> KafkaResult<BorrowedMessage<'a>> {
    match result {
        Ok(inner) => {
            // Without a meter provider there is nothing to record but a span.
            let is_recorded = start.is_some() || kafka.messaging().meter().is_some();
            let topic =
                if is_recorded { OnceLock::from(kafka.topic(inner.topic())) } else { OnceLock::new() };
            let message = BorrowedMessage { inner, kafka, topic, carried: CarriedContext::new() };
            if is_recorded {
                record_received(&message, POLL, start);
            }
            Ok(message)
        }
        // The end of a partition is a notification, not a failure.
        Err(error @ KafkaError::PartitionEOF(_)) => Err(error),
        Err(error) => {
            record_receive_error(kafka.messaging(), POLL, start, &outcome::of_error(&error));
            Err(error)
        }
    }
}

impl<'a> Deref for BorrowedMessage<'a> {
    type Target = bare::BorrowedMessage<'a>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl fmt::Debug for BorrowedMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
