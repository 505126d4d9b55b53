//! The adapters that call a handler for each message: `for_each` and `for_each_concurrent`.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! message has its own `process` operation.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;

use crate::consumer::StreamConsumer;
use crate::consumer::context::ConsumerContext;
use crate::consumer::message::BorrowedMessage;
use otel_messaging::HandlerOutcome;

impl<C, R> StreamConsumer<C, R>
where
    C: ConsumerContext + 'static,
{
    /// Processes messages sequentially, each inside its `process` span, until `stop` completes.
    ///
    /// A message that is being processed when `stop` completes is finished first. The handler's output is recorded on
    /// the span and then dropped: committing and error handling are up to the handler. To end the loop from the
    /// handler, complete `stop`, or use `recv` and `process` instead. Partitions are not revoked while a message is
    /// processed, because the consumer is polled only between messages.
    ///
    /// # Errors
    /// Returns the first receive error, as `recv` does. The method can be called again afterwards.
    ///
    /// ```
    /// use otel_kafka::StreamConsumer;
    /// use rdkafka::Message;
    ///
    /// async fn run(consumer: &StreamConsumer, stop: impl Future<Output = ()>) {
    ///     let mut stop = std::pin::pin!(stop);
    ///     while let Err(error) = consumer
    ///         .for_each(stop.as_mut(), |message| async move { println!("{:?}", message.payload()) })
    ///         .await
    ///     {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    pub async fn for_each<'s, F>(
        &'s self,
        stop: impl Future<Output = ()>,
        mut handler: impl FnMut(BorrowedMessage<'s>) -> F,
    ) -> KafkaResult<()>
    where
        F: Future<Output: HandlerOutcome>,
    {
        let mut stop = pin!(stop);
        loop {
            let received = pin!(self.recv());
            let message = match select(stop.as_mut(), received).await {
                Either::Left(((), _)) => return Ok(()),
                Either::Right((message, _)) => message?,
            };
            // The handler is called inside the operation, because it may run code before it returns its future.
            message.processing().run(async { handler(message).await }).await;
        }
    }

    /// Processes messages of different partitions concurrently and those of one partition in order, each inside its
    /// `process` span, until `stop` completes. At most `limit` messages (at least one) are in flight: being
    /// processed, or waiting for an earlier message of their partition.
    ///
    /// All handlers run in the task that polls the future; a handler can spawn a task to use another thread. When
    /// partitions are revoked, receiving stops until all messages in flight are processed, and only then are the
    /// partitions released. The messages in flight are also processed before this method returns. If several of these
    /// adapters run on one consumer, revocations are not deferred.
    ///
    /// # Errors
    /// Returns the first receive error, after all messages in flight have been processed. The method can be called
    /// again afterwards.
    pub async fn for_each_concurrent<'s, F>(
        &'s self,
        limit: usize,
        stop: impl Future<Output = ()>,
        handler: impl Fn(BorrowedMessage<'s>) -> F,
    ) -> KafkaResult<()>
    where
        F: Future<Output: HandlerOutcome>,
    {
        let mut stop = pin!(stop);
        let mut stream = self.stream();
        let limit = limit.max(1);
        // Declared before `running` and `waiting` and therefore dropped after them, so that partitions are not
        // released while their messages are being processed.
        let adapter = Adapter::begin(self);
        let handler = &handler;
        let run = |place: TopicPartition, message: BorrowedMessage<'s>| async move {
            message.processing().run(async { handler(message).await }).await;
            place
        };
        let mut running = FuturesUnordered::new();
        // Contains a partition while one of its messages is being processed.
        let mut waiting: HashMap<TopicPartition, VecDeque<BorrowedMessage<'s>>> = HashMap::new();
        let mut in_hand = 0;
        let mut end = None;
        loop {
            let draining = end.is_some() || self.context().is_draining();
            if draining && in_hand == 0 {
                match end {
                    Some(end) => return end,
                    None => self.context().let_go(adapter.0),
                }
                continue;
            }
            let receives = !draining && in_hand < limit;
            let stopped = end.is_some();
            let step = poll_fn(|cx| {
                if !stopped && stop.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Step::Stop);
                }
                if let Poll::Ready(Some(place)) = running.poll_next_unpin(cx) {
                    return Poll::Ready(Step::Done(place));
                }
                if receives {
                    if let Poll::Ready(Some(received)) = stream.poll_next_unpin(cx) {
                        return Poll::Ready(Step::Received(received));
                    }
                    // The poll may have called the rebalance callback.
                    if self.context().is_draining() {
                        return Poll::Ready(Step::Drain);
                    }
                }
                Poll::Pending
            });
            match step.await {
                Step::Stop => end = Some(Ok(())),
                Step::Drain => {}
                Step::Received(Err(error)) => end = Some(Err(error)),
                Step::Received(Ok(message)) => {
                    in_hand += 1;
                    let place = (message.topic().to_owned(), message.partition());
                    match waiting.get_mut(&place) {
                        Some(queue) => queue.push_back(message),
                        None => {
                            waiting.insert(place.clone(), VecDeque::new());
                            running.push(run(place, message));
                        }
                    }
                }
                Step::Done(place) => {
                    in_hand -= 1;
                    match waiting.get_mut(&place).and_then(VecDeque::pop_front) {
                        Some(next) => running.push(run(place, next)),
                        None => {
                            waiting.remove(&place);
                        }
                    }
                }
            }
        }
    }
}

/// Topic and partition.
type TopicPartition = (String, i32);

enum Step<'a> {
    Stop,
    Drain,
    Received(KafkaResult<BorrowedMessage<'a>>),
    Done(TopicPartition),
}

/// Guard that registers a running adapter with the consumer's context. Dropping it releases deferred partitions.
struct Adapter<'a, C: ConsumerContext + 'static, R>(&'a StreamConsumer<C, R>);

impl<'a, C: ConsumerContext + 'static, R> Adapter<'a, C, R> {
    fn begin(consumer: &'a StreamConsumer<C, R>) -> Self {
        consumer.context().adapter_begins();
        Self(consumer)
    }
}

impl<C: ConsumerContext + 'static, R> Drop for Adapter<'_, C, R> {
    fn drop(&mut self) {
        self.0.context().adapter_ends(self.0);
    }
}
