//! The consumer of a group: reading entries, and claiming those of other consumers.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::Link;
use otel_messaging::{
    MessagingInstrumentation, MessagingOperation, Options, carried_context, record_receive_error,
    start_processing_batch,
};
use otel_operation::{Outcome, StartTime};
use redis::aio::ConnectionLike;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply,
};
use redis::{Cmd, FromRedisValue, RedisResult, ToRedisArgs};

use crate::attributes::message_id;
use crate::outcome::message as outcome;
use crate::streams::for_each::LoopSettings;
use crate::streams::instrumentation::{ConsumerFacts, build, destination};
use crate::streams::message::{MessageSource, StreamMessage, XACK};

/// The names of the operations, which are those of the commands.
const XREADGROUP: &str = "xreadgroup";
const XAUTOCLAIM: &str = "xautoclaim";

/// The id of entries that no consumer of the group has received.
pub(crate) const NEW: &str = ">";

/// A consumer of a group: redis' `XREADGROUP`, `XAUTOCLAIM` and `XACK`, whose messages record their processing and their
/// acknowledgement.
///
/// `connection` is one of redis without instrumentation; on an instrumented one each read has the span of the command as
/// well. It should be one of its own, because a read that blocks delays the commands after it.
///
/// ```
/// use otel_redis::streams::Consumer;
/// use redis::aio::MultiplexedConnection;
/// use redis::streams::StreamReadOptions;
///
/// async fn ship(connection: MultiplexedConnection) -> redis::RedisResult<()> {
///     let mut consumer = Consumer::new(connection, "shipping", "worker-1");
///     let options = StreamReadOptions::default().count(10).block(200);
///     for order in consumer.xreadgroup(&["orders"], &[">"], options).await? {
///         // A `process` span in the producer's trace.
///         order.process(async |order| println!("{:?}", order.map)).await;
///         order.xack().await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Consumer<C> {
    pub(crate) connection: C,
    /// The connection that acknowledges, if it is another one.
    settling: Option<C>,
    facts: ConsumerFacts,
    group: Arc<str>,
    pub(crate) client: MessagingInstrumentation,
    replayed: bool,
    pub(crate) loops: LoopSettings,
}

impl<C> Consumer<C> {
    /// Creates a consumer of the group with this name, that records to the global providers. The group has to exist before
    /// the first read (`XGROUP CREATE`).
    #[must_use]
    pub fn new(connection: C, group: impl Into<String>, consumer: impl Into<String>) -> Self {
        let facts = ConsumerFacts { group: group.into(), name: consumer.into() };
        Self {
            connection,
            settling: None,
            group: Arc::from(&*facts.group),
            client: build(Some(&facts), Options::new()),
            facts,
            replayed: false,
            loops: LoopSettings::default(),
        }
    }

    /// Sets the options, in place of earlier ones.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.client = build(Some(&self.facts), options);
        self
    }

    /// Acknowledges on this connection. Default: on the one that reads, where an acknowledgement waits for a read that
    /// blocks.
    #[must_use]
    pub fn with_settling_connection(mut self, connection: C) -> Self {
        self.settling = Some(connection);
        self
    }

    /// Sets if the entries are old ones that are read again: their `process` spans link to their producers and never become
    /// children of them. Default: false.
    #[must_use]
    pub fn with_replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }

    /// Sets how many entries of each stream [`process_each`](Self::process_each) reads at once. Default: 10.
    #[must_use]
    pub fn with_count(mut self, count: usize) -> Self {
        self.loops.count = count;
        self
    }

    /// Sets how long [`process_each`](Self::process_each) waits for an entry before it asks the server again, in whole
    /// milliseconds and at least one. It has to be shorter than the response timeout of the connection, which is 500
    /// milliseconds in redis. Default: 200 milliseconds.
    #[must_use]
    pub fn with_block(mut self, block: Duration) -> Self {
        self.loops.block = block;
        self
    }

    /// Returns the connection that reads, which records nothing.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.connection
    }

    /// Returns the connection that reads, mutably.
    pub fn inner_mut(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Returns the connection that reads.
    #[must_use]
    pub fn into_inner(self) -> C {
        self.connection
    }

    /// Starts one `process` span for several messages, to each of which it links.
    pub fn processing_batch<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m StreamMessage<C>, IntoIter: Clone>,
    ) -> MessagingOperation
    where
        C: 'm,
    {
        start_processing_batch(&self.client, messages)
    }
}

impl<C: ConnectionLike + Clone> Consumer<C> {
    /// Reads entries. The id `>` asks for those that no consumer of the group has received; another one asks for the
    /// entries after it that were delivered to this consumer and are not acknowledged.
    ///
    /// The options' group is replaced by the consumer's.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn xreadgroup<K, I>(
        &mut self,
        keys: &[K],
        ids: &[I],
        options: StreamReadOptions,
    ) -> RedisResult<Vec<StreamMessage<C>>>
    where
        K: ToRedisArgs,
        I: ToRedisArgs,
    {
        let options = options.group(&self.facts.group, &self.facts.name);
        let (keys, ids) = (keys.to_redis_args(), ids.to_redis_args());
        let mut command = redis::cmd("XREADGROUP");
        command.arg(&options).arg("STREAMS").arg(&keys[..]).arg(&ids[..]);
        let start = self.client.receive_start();
        let reply: Option<StreamReadReply> = self.query(XREADGROUP, &command, start).await?;
        let is_new = |key: &str| {
            let place = keys.iter().position(|other| *other == key.as_bytes());
            place.and_then(|place| ids.get(place)).is_some_and(|id| id == NEW.as_bytes())
        };
        let mut messages = Vec::new();
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            let redelivered = !is_new(&stream.key);
            messages.extend(self.received(XREADGROUP, stream.key, stream.ids, redelivered, start));
        }
        Ok(messages)
    }

    /// Claims the entries that are pending for other consumers for at least `min_idle_time` milliseconds, from the id `start`
    /// on. Returns the id for the next call, which is `0-0` after the last entry, and the messages.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn xautoclaim_options<K: ToRedisArgs>(
        &mut self,
        key: K,
        min_idle_time: usize,
        start: impl ToRedisArgs,
        options: StreamAutoClaimOptions,
    ) -> RedisResult<(String, Vec<StreamMessage<C>>)> {
        let key = key.to_redis_args();
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(&key[..]).arg(&self.facts.group).arg(&self.facts.name);
        command.arg(min_idle_time).arg(start).arg(options);
        let start = self.client.receive_start();
        let reply: StreamAutoClaimReply = self.query(XAUTOCLAIM, &command, start).await?;
        let key = key.first().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
        let messages = self.received(XAUTOCLAIM, key, reply.claimed, true, start).collect();
        Ok((reply.next_stream_id, messages))
    }

    /// Acknowledges several messages, inside an `xack` span for each stream. Returns the number of entries that were
    /// pending.
    ///
    /// # Errors
    /// Returns the first error of redis.
    pub async fn xack(&self, messages: &[StreamMessage<C>]) -> RedisResult<usize> {
        let mut keys: Vec<_> = messages.iter().map(StreamMessage::key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut connection = self.settling().clone();
        let mut acknowledged = 0;
        for key in keys {
            let of_stream: Vec<_> = messages.iter().filter(|message| message.key() == key).collect();
            let destination = destination(&self.client, key);
            let links = of_stream.iter().map(|message| link(message));
            let settle = destination.settle(XACK).with_batch(links).start(&Context::current(), |_| {});
            let ids: Vec<_> = of_stream.iter().map(|message| &*message.id).collect();
            let mut command = redis::cmd("XACK");
            command.arg(key).arg(&*self.group).arg(&ids[..]);
            acknowledged +=
                settle.run_with(command.query_async::<usize>(&mut connection), outcome::of_result).await?;
        }
        Ok(acknowledged)
    }

    fn settling(&self) -> &C {
        self.settling.as_ref().unwrap_or(&self.connection)
    }

    async fn query<T: FromRedisValue>(
        &mut self,
        operation: &'static str,
        command: &Cmd,
        start: Option<StartTime>,
    ) -> RedisResult<T> {
        let reply = command.query_async(&mut self.connection).await;
        if let Err(error) = &reply {
            record_receive_error(&self.client, operation, start, &outcome::of_error(error));
        }
        reply
    }

    /// Records the delivery of the entries of one stream.
    fn received(
        &self,
        operation: &'static str,
        key: String,
        entries: Vec<StreamId>,
        redelivered: bool,
        start: Option<StartTime>,
    ) -> impl Iterator<Item = StreamMessage<C>> {
        let source = Arc::new(MessageSource {
            destination: destination(&self.client, &key),
            key,
            group: Arc::clone(&self.group),
            connection: self.settling().clone(),
            replayed: self.replayed,
        });
        let messages: Vec<_> =
            entries.into_iter().map(|entry| StreamMessage::new(entry, &source, redelivered)).collect();
        match start {
            Some(start) if !messages.is_empty() => {
                let receive = source.destination.receive(operation).with_started(start);
                let receive = receive.with_batch(messages.iter().map(link));
                receive.start(&Context::current(), |_| {}).finish(&Outcome::ok());
            }
            _ => source.destination.count_consumed(operation, messages.len() as u64),
        }
        messages.into_iter()
    }
}

/// The link of a batch to one of its messages.
fn link<C>(message: &StreamMessage<C>) -> Option<Link> {
    otel_propagation::link_to(carried_context(message), [message_id(&message.id)])
}

impl<C> fmt::Debug for Consumer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.facts.group)
            .field("name", &self.facts.name)
            .field("replayed", &self.replayed)
            .field("loops", &self.loops)
            .finish_non_exhaustive()
    }
}
