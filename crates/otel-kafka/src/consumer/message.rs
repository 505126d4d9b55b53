//! A received message, and the spans of receiving and processing it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": the
//! application starts `process` spans through this type, and they link to the message's creation context.

use std::fmt;
use std::ops::Deref;
use std::time::SystemTime;

use opentelemetry::{Context, ContextGuard, KeyValue};
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::attributes::{common_value, partition_id};
use otel_messaging::{Destination, MessagingOperation};
use otel_operation::{OperationFuture, Outcome, StartTime};
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{self as bare, Timestamp};

use crate::attributes::{LAG, of_message, offset};
use crate::carrier::HeaderExtractor;
use crate::kafka::ClientInstrumentation;
use crate::outcome::{self, HandlerOutcome};

/// rdkafka's `BorrowedMessage`, to which it dereferences, with methods that record processing.
pub struct BorrowedMessage<'a> {
    inner: bare::BorrowedMessage<'a>,
    kafka: &'a ClientInstrumentation,
    topic: Destination,
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
        // The handler is called inside the operation, because it may run code before it returns its future.
        self.processing().run(async { handler(&self.inner).await }).await
    }

    /// Starts the `process` span of the message, for handlers that are not closures or not async.
    #[must_use = "processing that is dropped ends as cancelled"]
    pub fn processing(&self) -> ProcessSpan {
        let carried = self.carried();
        ProcessSpan(self.topic.process("process").with_message(&carried).start(
            &Context::current(),
            |attributes| {
                self.write_attributes(attributes);
                if self.kafka.lag() {
                    attributes.push(KeyValue::new(LAG, lag(self.timestamp())));
                }
            },
        ))
    }

    /// Passes the message to a handler, inside its `process` span.
    pub(crate) async fn handled_by<F>(self, handler: impl FnOnce(bare::BorrowedMessage<'a>) -> F)
    where
        F: Future<Output: HandlerOutcome>,
    {
        let processing = self.processing();
        processing.run(async { handler(self.inner).await }).await;
    }

    fn carried(&self) -> Context {
        self.kafka.messaging().extract(&HeaderExtractor::of(&self.inner))
    }

    fn write_attributes(&self, attributes: &mut MessageAttributes) {
        of_message(attributes, Some(self.partition()), self.key(), self.payload());
        if let Some(offset) = offset(self.offset()) {
            attributes.push(offset);
        }
    }
}

/// Counts a message that rdkafka has returned, or records it as a `poll` span if `polled` is set.
pub(crate) fn received<'a>(
    kafka: &'a ClientInstrumentation,
    polled: Option<StartTime>,
    result: KafkaResult<bare::BorrowedMessage<'a>>,
) -> KafkaResult<BorrowedMessage<'a>> {
    let (result, polling) = match result {
        Ok(inner) => {
            let topic = kafka.topic(inner.topic());
            let message = BorrowedMessage { inner, kafka, topic };
            let polling = match polled {
                Some(started) if message.topic.is_recorded() => {
                    let carried = message.carried();
                    let start = message.topic.receive("poll").with_started(started).with_message(&carried);
                    Some(start.start(&Context::current(), |attributes| message.write_attributes(attributes)))
                }
                _ => {
                    message.topic.count_consumed("poll", 1);
                    None
                }
            };
            (Ok(message), polling)
        }
        // The end of a partition is a notification, not a failure.
        Err(error @ KafkaError::PartitionEOF(_)) => (Err(error), None),
        Err(error) => {
            let start = polled
                .map(|started| kafka.messaging().no_destination().receive("poll").with_started(started));
            (Err(error), start.map(|start| start.start(&Context::current(), |_| {})))
        }
    };
    if let Some(polling) = polling {
        polling.finish(&outcome::of_result(&result));
    }
    result
}

/// Returns the age of a message in seconds by the local clock; 0 if its timestamp is missing or in the future.
fn lag(timestamp: Timestamp) -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let written = timestamp.to_millis().and_then(|millis| u64::try_from(millis).ok());
    written.map_or(0.0, |millis| now.saturating_sub(std::time::Duration::from_millis(millis)).as_secs_f64())
}

/// Starts one `process` span for several messages, with a link to each and the attributes that they share.
pub(crate) fn batch(kafka: &ClientInstrumentation, messages: &[BorrowedMessage<'_>]) -> ProcessSpan {
    let topic = common_value(messages.iter().map(|message| message.topic()));
    let first = messages.first().filter(|_| topic.is_some());
    let destination = first.map_or_else(|| kafka.messaging().no_destination(), |first| &first.topic);
    let partition = topic.and_then(|_| common_value(messages.iter().map(|message| message.partition())));
    let links = messages.iter().map(|message| {
        let mut differing: Vec<_> = offset(message.offset()).into_iter().collect();
        if partition.is_none() {
            differing.extend(partition_id(i64::from(message.partition())));
        }
        otel_propagation::link_to(&message.carried(), differing)
    });
    ProcessSpan(destination.process("process").with_batch(links).start(&Context::current(), |attributes| {
        if let Some(partition) = partition {
            attributes.partition_id(i64::from(partition));
        }
        if let (None, Some(group)) = (topic, kafka.group()) {
            attributes.push_bounded(otel_messaging::attributes::CONSUMER_GROUP_NAME, group);
        }
    }))
}

/// The running `process` span of one message or of a batch.
///
/// If it is dropped without [`finish`](Self::finish), it ends as `cancelled`; if a panic unwinds out of
/// [`inside`](Self::inside) or [`run`](Self::run), as `panic`.
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
#[derive(Debug)]
#[must_use = "processing that is dropped ends as cancelled"]
pub struct ProcessSpan(MessagingOperation);

impl ProcessSpan {
    /// Returns the context in which the messages are processed: that of the span, or, if the topic is not recorded,
    /// the one that the span would have had for a parent.
    #[must_use]
    pub fn context(&self) -> Context {
        self.0.context().clone()
    }

    /// Makes the context current on this thread until the guard is dropped.
    pub fn attach(&self) -> ContextGuard {
        self.context().attach()
    }

    /// Runs `handler` with the context current. A panic in it ends the span as `panic`.
    pub fn inside<T>(&mut self, handler: impl FnOnce() -> T) -> T {
        self.0.inside(|_| handler())
    }

    /// Runs `handler` inside the span, whose context is current during each poll, and ends the span with the outcome
    /// of its output.
    pub async fn run<T: HandlerOutcome>(self, handler: impl Future<Output = T>) -> T {
        let (operation, handled) = OperationFuture::new(handler, Some(self.0)).await;
        if let Some(operation) = operation {
            operation.finish(&handled.outcome());
        }
        handled
    }

    /// Ends the span with this outcome.
    pub fn finish(self, outcome: &Outcome) {
        self.0.finish(outcome);
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
