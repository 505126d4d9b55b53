//! The processing loop over the entries of streams, and the acknowledgement that the user has chosen for it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! message has its own `process` operation.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream;
use otel_messaging::{Acknowledgement, HandlerOutcome, Settler};
use redis::aio::ConnectionLike;
use redis::streams::StreamReadOptions;
use redis::{RedisError, RedisResult};

use crate::streams::consumer::{Consumer, NEW};
use crate::streams::message::StreamMessage;

/// The settings of processing loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoopSettings {
    pub(crate) count: usize,
    pub(crate) block: Duration,
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self { count: 10, block: Duration::from_millis(200) }
    }
}

impl LoopSettings {
    fn options(self) -> StreamReadOptions {
        // The server would wait for ever with 0.
        let block = usize::try_from(self.block.as_millis()).unwrap_or(usize::MAX).max(1);
        StreamReadOptions::default().count(self.count).block(block)
    }
}

impl<C: ConnectionLike + Clone> Consumer<C> {
    /// Processes the entries of these streams sequentially, each inside its `process` span, until `stop` completes.
    ///
    /// Entries that were delivered to this consumer and are not acknowledged come first: those that an earlier loop has read
    /// and not handled, or whose handler failed. A message that is being processed when `stop` completes is finished
    /// first. The handler's output is recorded on the span and then dropped: error handling is up to the handler, and so is
    /// the acknowledgement unless [`MessagingOptions::with_acknowledgement`](crate::streams::MessagingOptions::with_acknowledgement) is set. A
    /// message that is not acknowledged is not read again before the next call.
    ///
    /// # Errors
    /// Returns the first error of reading or of an acknowledgement. The method can be called again afterwards.
    ///
    /// ```
    /// use otel_redis::streams::{Acknowledgement, Consumer, MessagingOptions, StreamMessage};
    /// use redis::aio::MultiplexedConnection;
    ///
    /// async fn ship(connection: MultiplexedConnection, stop: impl Future<Output = ()>) -> redis::RedisResult<()> {
    ///     let options = MessagingOptions::new().with_acknowledgement(Acknowledgement::OnSuccess);
    ///     let mut consumer = Consumer::new(connection, "shipping", "worker-1").with_options(options);
    ///     let handler = async |order: StreamMessage<_>| println!("{}", order.id);
    ///     consumer.process_each(&["orders"], stop, handler).await
    /// }
    /// ```
    pub async fn process_each<F>(
        &mut self,
        keys: &[&str],
        stop: impl Future<Output = ()>,
        handler: impl FnMut(StreamMessage<C>) -> F,
    ) -> RedisResult<()>
    where
        F: Future<Output: HandlerOutcome>,
    {
        let settler = Settlement { mode: self.client.acknowledgement() };
        let reader =
            Reader { consumer: self, keys, ids: vec![FIRST.to_owned(); keys.len()], read: VecDeque::new() };
        let messages = stream::try_unfold(reader, |mut reader| async {
            reader.next().await.map(|message| Some((message, reader)))
        });
        otel_messaging::for_each(messages, stop, &settler, handler).await
    }
}

/// The id before all others.
const FIRST: &str = "0";

/// Reads the pending entries of a consumer, and then new ones.
struct Reader<'c, C> {
    consumer: &'c mut Consumer<C>,
    keys: &'c [&'c str],
    /// For each key the id of the last entry that was read while there are pending ones, then [`NEW`].
    ids: Vec<String>,
    read: VecDeque<StreamMessage<C>>,
}

impl<C: ConnectionLike + Clone> Reader<'_, C> {
    async fn next(&mut self) -> RedisResult<StreamMessage<C>> {
        loop {
            if let Some(message) = self.read.pop_front() {
                return Ok(message);
            }
            // An id other than `>` never blocks, and no stream may be asked for new entries in the same call: they would wait
            // behind its pending ones.
            let pending: Vec<_> = (0..self.keys.len()).filter(|place| self.ids[*place] != NEW).collect();
            let places = if pending.is_empty() { (0..self.keys.len()).collect() } else { pending };
            let keys: Vec<_> = places.iter().map(|place| self.keys[*place]).collect();
            let ids: Vec<_> = places.iter().map(|place| &*self.ids[*place]).collect();
            let options = self.consumer.loops.options();
            self.read = self.consumer.xreadgroup(&keys, &ids, options).await?.into();
            for place in places.into_iter().filter(|place| self.ids[*place] != NEW).collect::<Vec<_>>() {
                let last = self.read.iter().rev().find(|message| message.key() == self.keys[place]);
                self.ids[place] = last.map_or(NEW, |message| &*message.id).to_owned();
            }
        }
    }
}

/// The acknowledgement of processed messages.
struct Settlement {
    mode: Acknowledgement,
}

impl<C: ConnectionLike + Clone> Settler<StreamMessage<C>, RedisError> for Settlement {
    type Receipt = Option<StreamMessage<C>>;

    fn receipt(&self, message: &StreamMessage<C>) -> Self::Receipt {
        (self.mode != Acknowledgement::Never).then(|| message.without_fields())
    }

    async fn settle(&self, receipt: Self::Receipt, succeeded: bool) -> Result<(), RedisError> {
        match receipt {
            // A group has no rejection: an entry whose handler failed stays pending.
            Some(message) if succeeded => message.xack().await.map(|_| ()),
            _ => Ok(()),
        }
    }
}
