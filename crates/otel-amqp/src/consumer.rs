//! The inbound side: consumers, which count received messages, and the processing loops.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

mod delegate;
mod message;

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use futures_core::Stream;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::ShortString;
use lapin::{Error, Result};
use otel_messaging::{
    Acknowledgement, Destination, HandlerOutcome, Lanes, OpenGate, Settler, record_receive_error,
};
use otel_operation::StartTime;

use crate::amqp::ClientInstrumentation;
use crate::outcome;

pub use crate::consumer::delegate::{ConsumerDelegate, DeliveryResult};
pub(crate) use crate::consumer::message::{ACK, NACK, REJECT};
pub use crate::consumer::message::{Acker, BasicGetMessage, Delivery};

/// The client's names for receiving.
const CONSUME: &str = "consume";
pub(crate) const GET: &str = "get";

/// The queue from which messages come.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) destination: Destination,
    pub(crate) queue: ShortString,
}

/// lapin's `Consumer`, a stream of deliveries, to which it dereferences. Cloning is cheap.
///
/// The stream ends when the consumer is cancelled, by this side or by the broker.
#[must_use = "a consumer that is dropped is cancelled"]
#[derive(Clone, Debug)]
pub struct Consumer {
    inner: lapin::Consumer,
    amqp: ClientInstrumentation,
    source: Source,
    /// The start of the wait for the next message, if receiving is recorded as spans.
    wait: Option<StartTime>,
}

impl Consumer {
    pub(crate) fn new(inner: lapin::Consumer, amqp: ClientInstrumentation, source: Source) -> Self {
        Self { inner, amqp, source, wait: None }
    }

    /// Calls the delegate for each delivery, in a task of its own. Processing is recorded by the delegate, with
    /// [`Delivery::process`].
    pub fn set_delegate<D: ConsumerDelegate + 'static>(&self, delegate: D) {
        self.inner.set_delegate(delegate::Adapter::new(delegate, self.source.clone()));
    }

    /// Processes messages sequentially, each inside its `process` span, until `stop` completes or the consumer is
    /// cancelled.
    ///
    /// A message that is being processed when `stop` completes is finished first. The handler's output is recorded on
    /// the span and then dropped: error handling is up to the handler, and so is settling unless
    /// [`Options::with_acknowledgement`](crate::Options::with_acknowledgement) is set. A message whose handler failed is
    /// never acknowledged; the handler can reject it, and [`Acknowledgement::ByOutcome`] does.
    ///
    /// # Errors
    /// Returns the first error of receiving or of an acknowledgement.
    ///
    /// ```
    /// use otel_amqp::{Consumer, Delivery};
    ///
    /// async fn run(consumer: &mut Consumer, stop: impl Future<Output = ()>) -> lapin::Result<()> {
    ///     consumer.process_each(stop, |delivery: Delivery| async move { println!("{:?}", delivery.data) }).await
    /// }
    /// ```
    pub async fn process_each<F>(
        &mut self,
        stop: impl Future<Output = ()>,
        handler: impl FnMut(Delivery) -> F,
    ) -> Result<()>
    where
        F: Future<Output: HandlerOutcome>,
    {
        let acks = Acks(self.amqp.messaging().acknowledgement());
        otel_messaging::for_each(self, stop, &acks, handler).await
    }

    /// Processes messages of different routing keys concurrently and those of one routing key in order, each inside its
    /// `process` span, until `stop` completes or the consumer is cancelled. `lanes` is the number of handlers that run at
    /// once, or [`Lanes`] with more limits. The prefetch count of the channel must not be less.
    ///
    /// All handlers run in the task that polls the future; a handler can spawn a task to use another thread. All received
    /// messages are processed before this method returns.
    ///
    /// # Errors
    /// Returns the first error of receiving or of an acknowledgement, after all received messages have been processed.
    pub async fn process_each_concurrent<F>(
        &mut self,
        lanes: impl Into<Lanes>,
        stop: impl Future<Output = ()>,
        handler: impl Fn(Delivery) -> F,
    ) -> Result<()>
    where
        F: Future<Output: HandlerOutcome>,
    {
        let acks = Acks(self.amqp.messaging().acknowledgement());
        let lane = |delivery: &Delivery| delivery.routing_key.clone();
        otel_messaging::for_each_in_lanes(self, lane, lanes.into(), &OpenGate, &acks, stop, handler).await
    }
}

/// The acknowledgement of processed messages, if the user has chosen it.
struct Acks(Acknowledgement);

impl Settler<Delivery, Error> for Acks {
    type Receipt = Option<Acker>;

    fn receipt(&self, message: &Delivery) -> Option<Acker> {
        (self.0 != Acknowledgement::Never).then(|| message.acker.clone())
    }

    async fn settle(&self, acker: Option<Acker>, succeeded: bool) -> Result<()> {
        match acker {
            // A handler may have settled its message itself.
            Some(acker) if succeeded && acker.usable() => {
                acker.ack(BasicAckOptions::default()).await.map(drop)
            }
            Some(acker) if !succeeded && self.0 == Acknowledgement::ByOutcome && acker.usable() => {
                let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                acker.nack(options).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.wait.is_none() {
            self.wait = self.amqp.messaging().receive_start();
        }
        let received = ready!(Pin::new(&mut self.inner).poll_next(cx));
        let wait = self.wait.take();
        Poll::Ready(match received {
            None => None,
            Some(Ok(inner)) => Some(Ok(Delivery::received(inner, &self.source, CONSUME, wait))),
            Some(Err(error)) => {
                let outcome = outcome::of_error(&error);
                record_receive_error(self.amqp.messaging(), CONSUME, wait, &outcome);
                Some(Err(error))
            }
        })
    }
}

impl Deref for Consumer {
    type Target = lapin::Consumer;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
