//! The processing loops over the messages of a consumer, and the settlement that the user has chosen for them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! message has its own `process` operation.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use async_nats::jetstream as bare;
use async_nats::jetstream::AckKind;
use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use otel_messaging::{Acknowledgement, HandlerOutcome, Lanes, OpenGate, Settler};

use crate::jetstream::message::JetStreamMessage;
use crate::jetstream::messages::Messages;

impl<S, E> Messages<S>
where
    S: Stream<Item = Result<bare::Message, E>>,
    E: Into<async_nats::Error>,
{
    /// Sends `progress` for a message each time this interval has passed while its handler runs in a processing loop, so
    /// that the server does not deliver it again. Half of the consumer's `ack_wait` is a good interval. Default: none, as in
    /// async-nats: a message whose handler takes longer than `ack_wait` is delivered again.
    ///
    /// A message that waits for its handler is not included. `ack_wait` has to be longer than that wait, which the number
    /// of messages in a request and [`Lanes::with_read_ahead`] limit.
    pub fn with_progress(mut self, interval: Duration) -> Self {
        self.loops.progress = Some(interval);
        self
    }

    /// Sets the time after which the server delivers a message again that a processing loop has rejected
    /// ([`Acknowledgement::ByOutcome`]). Default: at once.
    pub fn with_nak_delay(mut self, delay: Duration) -> Self {
        self.loops.nak_delay = Some(delay);
        self
    }

    /// Processes messages sequentially, each inside its `process` span, until `stop` completes or the stream ends.
    ///
    /// A message that is being processed when `stop` completes is finished first. The handler's output is recorded on
    /// the span and then dropped: error handling is up to the handler, and so is the acknowledgement unless
    /// [`Options::with_acknowledgement`](crate::Options::with_acknowledgement) is set.
    ///
    /// # Errors
    /// Returns the first error of receiving or of a settlement. The method can be called again afterwards.
    ///
    /// ```
    /// use otel_nats::jetstream::{JetStreamMessage, PullConsumer};
    ///
    /// async fn run(
    ///     consumer: &PullConsumer,
    ///     stop: impl Future<Output = ()>,
    /// ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     let mut messages = consumer.messages().await?;
    ///     let handler = async |message: JetStreamMessage| println!("{}", message.subject);
    ///     messages.process_each(stop, handler).await
    /// }
    /// ```
    pub async fn process_each<F>(
        &mut self,
        stop: impl Future<Output = ()>,
        mut handler: impl FnMut(JetStreamMessage) -> F,
    ) -> Result<(), async_nats::Error>
    where
        F: Future<Output: HandlerOutcome>,
    {
        let (loops, settler) = (self.loops, self.settler());
        let handler = |message| loops.keep(&message).around(handler(message));
        otel_messaging::for_each(self.map(boxed), stop, &settler, handler).await
    }

    /// Processes messages of different subjects concurrently and those of one subject in order, each inside its `process`
    /// span, until `stop` completes or the stream ends. `lanes` is the number of handlers that run at once, or [`Lanes`]
    /// with more limits. A message that is delivered again comes after later ones of its subject.
    ///
    /// At most as many messages wait for their handler, because `ack_wait` includes that wait. A larger
    /// [`Lanes::with_read_ahead`] lets other subjects run while one has a long backlog.
    ///
    /// All handlers run in the task that polls the future; a handler can spawn a task to use another thread. All received
    /// messages are processed before this method returns.
    ///
    /// # Errors
    /// Returns the first error of receiving or of a settlement, after all received messages have been processed. The
    /// method can be called again afterwards.
    pub async fn process_each_concurrent<F>(
        &mut self,
        lanes: impl Into<Lanes>,
        stop: impl Future<Output = ()>,
        handler: impl Fn(JetStreamMessage) -> F,
    ) -> Result<(), async_nats::Error>
    where
        F: Future<Output: HandlerOutcome>,
    {
        let (loops, settler, lanes) = (self.loops, self.settler(), lanes.into().with_short_read_ahead());
        let subject = |message: &JetStreamMessage| message.subject.to_string();
        let handler = |message| loops.keep(&message).around(handler(message));
        let messages = self.map(boxed);
        otel_messaging::for_each_in_lanes(messages, subject, lanes, &OpenGate, &settler, stop, handler).await
    }

    fn settler(&self) -> Settlement {
        Settlement { mode: self.acknowledgement(), nak_delay: self.loops.nak_delay }
    }
}

fn boxed<E: Into<async_nats::Error>>(
    received: Result<JetStreamMessage, E>,
) -> Result<JetStreamMessage, async_nats::Error> {
    received.map_err(Into::into)
}

/// The settings of processing loops.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoopSettings {
    progress: Option<Duration>,
    nak_delay: Option<Duration>,
}

impl LoopSettings {
    fn keep(self, message: &JetStreamMessage) -> Keeper {
        Keeper(self.progress.map(|interval| (interval, message.without_content())))
    }
}

/// Keeps the server from delivering a message again while its handler runs.
struct Keeper(Option<(Duration, JetStreamMessage)>);

impl Keeper {
    async fn around<T>(self, handling: impl Future<Output = T>) -> T {
        let Some((interval, message)) = self.0 else { return handling.await };
        let progress = async {
            loop {
                tokio::time::sleep(interval).await;
                // Recorded on its span. If the connection is lost, a later one may arrive.
                let _ = message.ack_with(AckKind::Progress).await;
            }
        };
        match select(pin!(handling), pin!(progress)).await {
            Either::Left((output, _)) => output,
            Either::Right((never, _)) => never,
        }
    }
}

/// The settlement of processed messages.
struct Settlement {
    mode: Acknowledgement,
    nak_delay: Option<Duration>,
}

/// The error of any lifetime: the compiler demands it of a loop that is spawned.
type SettleError<'e> = Box<dyn Error + Send + Sync + 'e>;

impl<'e> Settler<JetStreamMessage, SettleError<'e>> for Settlement {
    type Receipt = Option<JetStreamMessage>;

    fn receipt(&self, message: &JetStreamMessage) -> Self::Receipt {
        (self.mode != Acknowledgement::Never).then(|| message.without_content())
    }

    async fn settle(&self, receipt: Self::Receipt, succeeded: bool) -> Result<(), SettleError<'e>> {
        let Some(message) = receipt else { return Ok(()) };
        match (succeeded, self.mode) {
            (true, _) => message.ack().await,
            (false, Acknowledgement::ByOutcome) => message.ack_with(AckKind::Nak(self.nak_delay)).await,
            (false, _) => Ok(()),
        }
    }
}
