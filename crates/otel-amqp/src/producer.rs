//! Publishing. The span ends with the broker's confirmation, also if its future was dropped.
//!
//! Follows the [semantic conventions for
//! RabbitMQ](https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/), and the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans".

mod returned;
mod unawaited;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation, ConnectionStatus, ErrorKind, Result};
use opentelemetry::Context;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{HeaderBudget, MessagingInstrumentation, MessagingOperation};

use crate::attributes::{Address, of_published, set_blocked, set_confirmation};
use crate::carrier::{HeaderInjector, PER_HEADER, budget};
use crate::channel::Channel;
use crate::outcome;

use crate::producer::returned::{Confirm, Returnable};
use crate::producer::unawaited::Unawaited;

/// The client's name for sending.
const PUBLISH: &str = "publish";

/// `error.type` of a message that is given up before it was handed over: the client may send it still.
const UNKNOWN: &str = "unknown";

impl Channel {
    /// Publishes a message, inside a `publish` span. The span ends with the broker's confirmation if
    /// [`confirm_select`](lapin::Channel::confirm_select) was called before, and when the message has been handed over to
    /// the connection otherwise; `messaging.rabbitmq.message.confirmation` records which.
    ///
    /// A message that is `mandatory` and cannot be routed fails with the `error.type` `NO_ROUTE`, if the channel has publisher confirms.
    ///
    /// # Errors
    /// Returns the error of lapin.
    ///
    /// ```
    /// use lapin::options::BasicPublishOptions;
    /// use lapin::BasicProperties;
    ///
    /// async fn send(channel: &otel_amqp::Channel) -> lapin::Result<()> {
    ///     let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    ///     let properties = BasicProperties::default().with_delivery_mode(2);
    ///     let confirm =
    ///         channel.basic_publish("orders".into(), "created".into(), options, b"one book", properties).await?;
    ///     println!("{:?}", confirm.await?);
    ///     Ok(())
    /// }
    /// ```
    pub async fn basic_publish(
        &self,
        exchange: ShortString,
        routing_key: ShortString,
        options: BasicPublishOptions,
        payload: &[u8],
        properties: BasicProperties,
    ) -> Result<PublisherConfirm> {
        let address = Address { exchange: exchange.as_str(), routing_key: routing_key.as_str() };
        let (operation, properties) = self.start(address, payload, properties);
        let mut message = SentMessage { operation, channel: Arc::clone(&self.sent), is_blocked: false };
        let is_mandatory = options.mandatory || options.immediate;
        let registered = self.sent.returnable.register(is_mandatory, &message.operation, &properties);
        let publish = self.inner.basic_publish(exchange, routing_key, options, payload, properties);
        let mut publish = pin!(publish);
        let handed_over = poll_fn(|cx| {
            let polled = message.operation.inside(|| publish.as_mut().poll(cx));
            if polled.is_pending() {
                message.record_blocked();
            }
            polled
        });
        match handed_over.await {
            // Without confirmations the future is ready. The mode is never left.
            Ok(inner) if !self.inner.status().confirm() => {
                let confirm = Confirm::Plain(inner);
                message.finish(&confirm, &Ok(Confirmation::NotRequested));
                Ok(PublisherConfirm { confirm: Some(confirm), message: None })
            }
            Ok(inner) => {
                let confirm = match registered {
                    Some(registered) => registered.confirm(inner),
                    None => Confirm::Plain(inner),
                };
                Ok(PublisherConfirm { confirm: Some(confirm), message: Some(message) })
            }
            Err(error) => {
                message.operation.finish(&outcome::of_error(&error));
                Err(error)
            }
        }
    }

    /// Waits for the confirmations of all messages that were published before, and returns those that the broker could
    /// not route, except of messages whose [`PublisherConfirm`] is held or was awaited. lapin waits until no confirmation is open,
    /// also of messages that are published meanwhile.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn wait_for_confirms(&self) -> Result<Vec<BasicReturnMessage>> {
        let mut returned = self.inner.wait_for_confirms().await?;
        returned.extend(self.sent.unawaited.drain().await);
        Ok(returned)
    }

    /// Starts the operation of sending a message, and returns its properties with the context in their headers.
    fn start(
        &self,
        address: Address<'_>,
        payload: &[u8],
        properties: BasicProperties,
    ) -> (MessagingOperation, BasicProperties) {
        if let Some(operation) = self.amqp.messaging().idle_operation() {
            return (operation, properties);
        }
        let has_headers = properties.headers().is_some();
        let mut headers = properties.headers().clone().unwrap_or_default();
        let mut message = OutboundMessage {
            address,
            properties: &properties,
            has_headers,
            headers: HeaderInjector(&mut headers),
            payload,
        };
        let budget = HeaderBudget::bytes(budget(&properties, self.frame_max), PER_HEADER);
        let destination = self.amqp.published(address);
        let send = destination.send(PUBLISH).with_error_if_dropped(UNKNOWN);
        let operation = send.start_outbound(&Context::current(), &mut message, budget);
        if operation.is_context_dropped() {
            self.amqp.count_context_dropped();
        }
        // A message that has nothing to carry stays without headers.
        let properties = match has_headers || !headers.inner().is_empty() {
            true => properties.with_headers(headers),
            false => properties,
        };
        (operation, properties)
    }
}

struct OutboundMessage<'m> {
    address: Address<'m>,
    properties: &'m BasicProperties,
    has_headers: bool,
    headers: HeaderInjector<'m>,
    payload: &'m [u8],
}

impl<'m> otel_messaging::OutboundMessage for OutboundMessage<'m> {
    type Headers = HeaderInjector<'m>;

    fn headers(&self) -> Option<&HeaderInjector<'m>> {
        self.has_headers.then_some(&self.headers)
    }

    fn headers_mut(&mut self) -> &mut HeaderInjector<'m> {
        &mut self.headers
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        of_published(attributes, self.address, self.properties, self.payload);
    }
}

/// The parts of a channel that its sent messages share.
#[derive(Debug)]
pub(crate) struct SentMessages {
    connection: ConnectionStatus,
    unawaited: Unawaited,
    returnable: Arc<Returnable>,
}

impl SentMessages {
    pub(crate) fn new(connection: ConnectionStatus, messaging: MessagingInstrumentation) -> Self {
        let returnable = Arc::new(Returnable::new(messaging));
        Self { connection, unawaited: Unawaited::default(), returnable }
    }
}

/// A message whose span has not ended.
#[derive(Debug)]
struct SentMessage {
    operation: MessagingOperation,
    channel: Arc<SentMessages>,
    /// True if the span records that the connection was blocked.
    is_blocked: bool,
}

impl SentMessage {
    /// Records that the message waits while the broker blocks the connection.
    fn record_blocked(&mut self) {
        if !self.is_blocked
            && let Some(span) = self.operation.recording()
            && self.channel.connection.blocked()
        {
            set_blocked(&span);
            self.is_blocked = true;
        }
    }

    /// Ends the span with the answer of the broker.
    fn finish(self, confirm: &Confirm, answer: &Result<Confirmation>) {
        let reply_code = confirm.reply_code(&self.channel.returnable, answer);
        if let (Some(span), Ok(confirmation)) = (self.operation.recording(), answer) {
            set_confirmation(&span, reply_code.map_or_else(|| name(confirmation), |_| "returned"));
        }
        self.operation.finish(&outcome::of_confirmation(answer, reply_code));
    }
}

/// lapin's `PublisherConfirm`: await it for the confirmation, which ends the span of the message.
///
/// If it is dropped before, a task of tokio waits for the confirmation, and
/// [`Channel::wait_for_confirms`] returns the message if it was not routed. Without a runtime of tokio the span ends with
/// the `error.type` `unknown`.
///
/// A returned message is the one that lapin delivers with this confirmation, which can be another message of the channel:
/// the span of the message that the broker returned ends with `NO_ROUTE`.
#[derive(Debug)]
#[must_use = "a confirmation that is not awaited may be a rejection"]
pub struct PublisherConfirm {
    confirm: Option<Confirm>,
    /// `None` if the span has ended.
    message: Option<SentMessage>,
}

impl Future for PublisherConfirm {
    type Output = Result<Confirmation>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(confirm) = &mut this.confirm else {
            return Poll::Ready(Err(ErrorKind::FutureCompleted.into()));
        };
        let Poll::Ready(answer) = Pin::new(&mut *confirm).poll(cx) else {
            if let Some(message) = &mut this.message {
                message.record_blocked();
            }
            return Poll::Pending;
        };
        if let Some(message) = this.message.take() {
            message.finish(confirm, &answer);
        }
        this.confirm = None;
        Poll::Ready(answer)
    }
}

impl Drop for PublisherConfirm {
    fn drop(&mut self) {
        if let (Some(confirm), Some(message)) = (self.confirm.take(), self.message.take()) {
            let channel = Arc::clone(&message.channel);
            channel.unawaited.watch(confirm, message);
        }
    }
}

fn name(confirmation: &Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Ack(_) => "ack",
        Confirmation::Nack(_) => "nack",
        Confirmation::NotRequested => "not_requested",
    }
}
