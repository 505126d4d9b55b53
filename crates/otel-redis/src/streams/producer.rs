//! Adding entries to streams, each with the context of its `xadd` span.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans".

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{HeaderBudget, MessagingInstrumentation, Options, OutboundMessage};
use redis::aio::ConnectionLike;
use redis::streams::{StreamAddOptions, StreamMaxlen};
use redis::{RedisResult, ToRedisArgs};

use crate::attributes::message_id;
use crate::outcome::message as outcome;
use crate::streams::carrier::OutboundFields;
use crate::streams::instrumentation::{build, destination};

/// The name of the operation, which is that of the command.
const XADD: &str = "xadd";

/// The `error.type` of a message whose future was dropped: the server may have added it.
const UNKNOWN: &str = "unknown";

/// A producer of messages: redis' methods for `XADD`, which record a span and send its context in fields of the entry.
///
/// `connection` is one of redis without instrumentation; on an instrumented one each entry has the span of the command as
/// well.
///
/// ```
/// use otel_redis::streams::Producer;
/// use redis::aio::MultiplexedConnection;
///
/// async fn order(connection: MultiplexedConnection) -> redis::RedisResult<()> {
///     let mut producer = Producer::new(connection);
///     let id = producer.xadd("orders", "*", &[("book", "7")]).await?;
///     println!("added as {id:?}");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Producer<C> {
    connection: C,
    client: MessagingInstrumentation,
}

impl<C> Producer<C> {
    /// Creates a producer that records to the global providers.
    #[must_use]
    pub fn new(connection: C) -> Self {
        Self { connection, client: build(None, Options::new()) }
    }

    /// Sets the options, in place of earlier ones.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        Self { client: build(None, options), ..self }
    }

    /// Returns the connection, which records nothing.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.connection
    }

    /// Returns the connection, mutably.
    pub fn inner_mut(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Returns the connection.
    #[must_use]
    pub fn into_inner(self) -> C {
        self.connection
    }
}

impl<C: ConnectionLike> Producer<C> {
    /// Adds an entry with these fields, and returns its id. `*` is the id that the server chooses.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn xadd<K, I, F, V>(&mut self, key: K, id: I, items: &[(F, V)]) -> RedisResult<Option<String>>
    where
        K: ToRedisArgs,
        I: ToRedisArgs,
        F: ToRedisArgs,
        V: ToRedisArgs,
    {
        self.add(key.to_redis_args(), Vec::new(), id.to_redis_args(), items.to_redis_args()).await
    }

    /// Adds an entry with the fields of a map, as [`xadd`](Self::xadd) does.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn xadd_map<K, I, M>(&mut self, key: K, id: I, map: M) -> RedisResult<Option<String>>
    where
        K: ToRedisArgs,
        I: ToRedisArgs,
        M: ToRedisArgs,
    {
        self.add(key.to_redis_args(), Vec::new(), id.to_redis_args(), map.to_redis_args()).await
    }

    /// Adds an entry to a stream that is then trimmed to this length, as [`xadd`](Self::xadd) does.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn xadd_maxlen<K, I, F, V>(
        &mut self,
        key: K,
        maxlen: StreamMaxlen,
        id: I,
        items: &[(F, V)],
    ) -> RedisResult<Option<String>>
    where
        K: ToRedisArgs,
        I: ToRedisArgs,
        F: ToRedisArgs,
        V: ToRedisArgs,
    {
        let options = maxlen.to_redis_args();
        self.add(key.to_redis_args(), options, id.to_redis_args(), items.to_redis_args()).await
    }

    /// Adds an entry with options, as [`xadd`](Self::xadd) does.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn xadd_options<K, I, M>(
        &mut self,
        key: K,
        id: I,
        items: M,
        options: &StreamAddOptions,
    ) -> RedisResult<Option<String>>
    where
        K: ToRedisArgs,
        I: ToRedisArgs,
        M: ToRedisArgs,
    {
        let options = options.to_redis_args();
        self.add(key.to_redis_args(), options, id.to_redis_args(), items.to_redis_args()).await
    }

    async fn add(
        &mut self,
        key: Vec<Vec<u8>>,
        options: Vec<Vec<u8>>,
        id: Vec<Vec<u8>>,
        fields: Vec<Vec<u8>>,
    ) -> RedisResult<Option<String>> {
        let name = key.first().map(|key| String::from_utf8_lossy(key)).unwrap_or_default();
        let destination = destination(&self.client, &name);
        let send = destination.send(XADD).with_error_if_dropped(UNKNOWN);
        let mut entry = OutboundEntry(OutboundFields(fields));
        // The server rejects an entry that is not made of pairs; with fields of ours it might accept it.
        let is_entry = !entry.0.0.is_empty() && entry.0.0.len().is_multiple_of(2);
        let operation = match is_entry {
            true => send.start_outbound(&Context::current(), &mut entry, HeaderBudget::Unlimited),
            false => send.start(&Context::current(), |_| {}),
        };
        let mut command = redis::cmd("XADD");
        command.arg(&key[..]).arg(&options[..]).arg(&id[..]).arg(&entry.0.0[..]);
        let recording = operation.recording().is_some().then(|| operation.context().clone());
        let outcome = |result: &RedisResult<Option<String>>| {
            if let (Some(context), Ok(Some(id))) = (&recording, result) {
                context.span().set_attribute(message_id(id));
            }
            outcome::of_result(result)
        };
        operation.run_with(command.query_async(&mut self.connection), outcome).await
    }
}

/// An entry that is about to be added.
struct OutboundEntry(OutboundFields);

impl OutboundMessage for OutboundEntry {
    type Headers = OutboundFields;

    fn headers(&self) -> Option<&OutboundFields> {
        Some(&self.0)
    }

    fn headers_mut(&mut self) -> &mut OutboundFields {
        &mut self.0
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        attributes.body_size(self.0.0.iter().map(Vec::len).sum());
    }
}
