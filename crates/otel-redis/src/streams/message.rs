//! A message that a group's consumer has read: processing and acknowledging it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, carried_context,
    start_processing, start_settling,
};
use otel_propagation::HeaderReader;
use redis::aio::ConnectionLike;
use redis::streams::StreamId;
use redis::{RedisResult, Value};

use crate::attributes::{message_id, redelivered};
use crate::outcome::message as outcome;
use crate::streams::carrier::FieldExtractor;

/// The name of the operation, which is that of the command.
pub(crate) const XACK: &str = "xack";

/// redis' `StreamId`, to which it dereferences, with methods that record processing and acknowledgement.
#[derive(Clone)]
pub struct StreamMessage<C> {
    entry: StreamId,
    source: Arc<MessageSource<C>>,
    carried: CarriedContext,
    redelivered: bool,
}

/// The part that all messages of one stream in one reply share.
pub(crate) struct MessageSource<C> {
    pub(crate) key: String,
    pub(crate) group: Arc<str>,
    pub(crate) destination: Destination,
    pub(crate) connection: C,
    pub(crate) replayed: bool,
}

impl<C> StreamMessage<C> {
    pub(crate) fn new(entry: StreamId, source: &Arc<MessageSource<C>>, redelivered: bool) -> Self {
        Self { entry, source: Arc::clone(source), carried: CarriedContext::new(), redelivered }
    }

    /// Returns the key of the stream.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.source.key
    }

    /// Returns true for an entry that was delivered before: one that was read from the pending entries of the consumer, or
    /// claimed from another one.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.redelivered
    }

    /// Returns the entry of redis.
    #[must_use]
    pub fn into_inner(self) -> StreamId {
        self.entry
    }

    /// Returns the message without its fields, for its acknowledgement.
    pub(crate) fn without_fields(&self) -> Self {
        // The link of the settlement needs the context, which is in the fields.
        carried_context(self);
        Self {
            entry: StreamId { id: self.entry.id.clone(), ..StreamId::default() },
            source: Arc::clone(&self.source),
            carried: self.carried.clone(),
            redelivered: self.redelivered,
        }
    }

    /// Runs `handler` on the message inside a `process` span, whose context is current in the handler.
    ///
    /// The span ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled` if this future is
    /// dropped, or as `panic` if the handler panics. Acknowledging the message is a span of its own.
    pub async fn process<T: HandlerOutcome>(&self, handler: impl AsyncFnOnce(&Self) -> T) -> T {
        self.processing().run(async { handler(self).await }).await
    }

    /// Starts the `process` span of the message, for handlers that are not closures or not async.
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }
}

impl<C: ConnectionLike + Clone> StreamMessage<C> {
    /// Acknowledges the message, inside an `xack` span. Returns the number of entries that were pending: 0 or 1.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn xack(&self) -> RedisResult<usize> {
        let mut command = redis::cmd("XACK");
        command.arg(&self.source.key).arg(&*self.source.group).arg(&self.entry.id);
        let mut connection = self.source.connection.clone();
        start_settling(self, XACK).run_with(command.query_async(&mut connection), outcome::of_result).await
    }
}

impl<C> InboundMessage for StreamMessage<C> {
    fn destination(&self) -> &Destination {
        &self.source.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        FieldExtractor(&self.entry.map)
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        attributes.message_id(&self.entry.id);
        if self.redelivered {
            attributes.push(redelivered());
        }
        let len = |value: &Value| match value {
            Value::BulkString(bytes) => bytes.len(),
            _ => 0,
        };
        attributes.body_size(self.entry.map.iter().map(|(name, value)| name.len() + len(value)).sum());
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        attributes.push(message_id(&self.entry.id));
    }

    fn written_at(&self) -> Option<SystemTime> {
        // The server's id is the time in milliseconds, and a sequence number. An application may choose ids of its own.
        let (milliseconds, _) = self.entry.id.split_once('-')?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds.parse().ok()?))
    }

    fn is_replayed(&self) -> bool {
        self.source.replayed
    }
}

impl<C> Deref for StreamMessage<C> {
    type Target = StreamId;

    fn deref(&self) -> &Self::Target {
        &self.entry
    }
}

impl<C> fmt::Debug for StreamMessage<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMessage")
            .field("key", &self.source.key)
            .field("id", &self.entry.id)
            .field("redelivered", &self.redelivered)
            .finish_non_exhaustive()
    }
}
