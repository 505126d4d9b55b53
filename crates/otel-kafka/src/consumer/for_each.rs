//! A handler for each message of a stream: one after the other, or partitions side by side.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! message is a `process` operation of its own.

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
use rdkafka::message as bare;

use crate::consumer::StreamConsumer;
use crate::consumer::context::ConsumerContext;
use crate::consumer::message::BorrowedMessage;
use crate::outcome::Handled;

impl<C, R> StreamConsumer<C, R>
where
    C: ConsumerContext + 'static,
{
    /// Processes messages one after the other, each inside its `process` span, until `stop` is ready.
    ///
    /// A message that is being processed when that happens is finished first. What the handler gives is told by the
    /// span and is otherwise left to the handler, and so are commits; a handler that has to end the loop readies `stop`, or
    /// use `recv` and `process`. Partitions are never taken away while a message
    /// is processed, since that happens only between messages.
    ///
    /// # Errors
    /// The first error of receiving, as `recv` would give it. It can be called again to go on.
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
        mut handler: impl FnMut(bare::BorrowedMessage<'s>) -> F,
    ) -> KafkaResult<()>
    where
        F: Future<Output: Handled>,
    {
        let mut stop = pin!(stop);
        loop {
            let received = pin!(self.recv());
            let message = match select(stop.as_mut(), received).await {
                Either::Left(((), _)) => return Ok(()),
                Either::Right((message, _)) => message?,
            };
            message.handled_by(&mut handler).await;
        }
    }

    /// Processes messages of several partitions side by side, those of one partition in their order, each inside its
    /// `process` span, until `stop` is ready. At most `limit` messages (at least one) are in hand: processed, or
    /// waiting for their predecessor.
    ///
    /// All of it happens in the task that polls the future; a handler that wants another thread spawns there. When
    /// partitions are to be given to another consumer, receiving stops until all that is in hand is done, and only
    /// then they are let go; the same happens before this returns. Where several of these run on one consumer, none
    /// waits for the others.
    ///
    /// # Errors
    /// The first error of receiving, once all that was in hand is done. It can be called again to go on.
    pub async fn for_each_concurrent<'s, F>(
        &'s self,
        limit: usize,
        stop: impl Future<Output = ()>,
        handler: impl Fn(bare::BorrowedMessage<'s>) -> F,
    ) -> KafkaResult<()>
    where
        F: Future<Output: Handled>,
    {
        let mut stop = pin!(stop);
        let mut stream = self.stream();
        let limit = limit.max(1);
        // Dropped after what is in hand, so that nothing is let go that is still being processed.
        let adapter = Adapter::begin(self);
        let handler = &handler;
        let run = |place: Place, message: BorrowedMessage<'s>| async move {
            message.handled_by(handler).await;
            place
        };
        let mut running = FuturesUnordered::new();
        // A partition is in here while one of its messages is running.
        let mut waiting: HashMap<Place, VecDeque<BorrowedMessage<'s>>> = HashMap::new();
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
                    // rdkafka calls the context back inside of that poll.
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
type Place = (String, i32);

enum Step<'a> {
    Stop,
    Drain,
    Received(KafkaResult<BorrowedMessage<'a>>),
    Done(Place),
}

/// Says that there are messages in hand for as long as it is there; when it goes, so does what waited for that.
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
