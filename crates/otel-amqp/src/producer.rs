//! Publishing. The span ends with the broker's confirmation, also if its future was dropped.
//!
//! Follows the [semantic conventions for
//! RabbitMQ](https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/), and the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans".

mod unawaited;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation, ErrorKind, Result};
use opentelemetry::Context;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{HeaderBudget, MessagingOperation};

use crate::attributes::{Address, of_published, set_confirmation};
use crate::carrier::{OutboundHeaders, PER_HEADER, budget};
use crate::channel::Channel;
use crate::outcome;

pub(crate) use crate::producer::unawaited::Unawaited;

/// The client's name for sending.
const PUBLISH: &str = "publish";

/// `error.type` of a message that is given up before it was handed over: the client may send it still.
const UNKNOWN: &str = "unknown";

impl Channel {
    /// Publishes a message, inside a `publish` span. The span ends with the broker's confirmation if
    /// [`confirm_select`](lapin::Channel::confirm_select) was called before, and when the message has been handed over to
    /// the connection otherwise; `messaging.rabbitmq.message.confirmation` records which.
    ///
    /// A message that is `mandatory` and cannot be routed fails with the `error.type` `NO_ROUTE`.
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
        let (mut operation, properties) = self.start(address, payload, properties);
        let publish = self.inner.basic_publish(exchange, routing_key, options, payload, properties);
        let mut publish = pin!(publish);
        match poll_fn(|cx| operation.inside(|| publish.as_mut().poll(cx))).await {
            // Without confirmations the future is ready. The mode is never left.
            Ok(inner) if !self.inner.status().confirm() => {
                finish(operation, &Ok(Confirmation::NotRequested));
                Ok(PublisherConfirm { inner: Some(inner), operation: None, unawaited: None })
            }
            Ok(inner) => {
                let unawaited = Some(Arc::clone(&self.unawaited));
                Ok(PublisherConfirm { inner: Some(inner), operation: Some(operation), unawaited })
            }
            Err(error) => {
                operation.finish(&outcome::of_error(&error));
                Err(error)
            }
        }
    }

    /// Waits for the confirmations of all messages that were published before, and returns those that the broker could
    /// not route, except of messages whose [`PublisherConfirm`] is held or was awaited.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn wait_for_confirms(&self) -> Result<Vec<BasicReturnMessage>> {
        let mut returned = self.inner.wait_for_confirms().await?;
        returned.extend(self.unawaited.drain().await);
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
        let headers = OutboundHeaders(properties.headers().clone());
        let mut message = OutboundMessage { address, properties: &properties, headers, payload };
        let budget = HeaderBudget::bytes(budget(&properties, self.frame_max), PER_HEADER);
        let destination = self.amqp.published(address);
        let send = destination.send(PUBLISH).with_error_if_dropped(UNKNOWN);
        let operation = send.start_outbound(&Context::current(), &mut message, budget);
        if operation.is_context_dropped() {
            self.amqp.count_context_dropped();
        }
        let headers = message.headers.0;
        let properties = match headers {
            Some(headers) => properties.with_headers(headers),
            None => properties,
        };
        (operation, properties)
    }
}

struct OutboundMessage<'m> {
    address: Address<'m>,
    properties: &'m BasicProperties,
    headers: OutboundHeaders,
    payload: &'m [u8],
}

impl otel_messaging::OutboundMessage for OutboundMessage<'_> {
    type Headers = OutboundHeaders;

    fn headers(&self) -> Option<&OutboundHeaders> {
        self.headers.0.is_some().then_some(&self.headers)
    }

    fn headers_mut(&mut self) -> &mut OutboundHeaders {
        &mut self.headers
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        of_published(attributes, self.address, self.properties, self.payload);
    }
}

/// lapin's `PublisherConfirm`: await it for the confirmation, which ends the span of the message.
///
/// If it is dropped before, a task of tokio waits for the confirmation, and
/// [`Channel::wait_for_confirms`] returns the message if it was not routed. Without a runtime of tokio the span ends with
/// the `error.type` `unknown`.
#[derive(Debug)]
#[must_use = "a confirmation that is not awaited may be a rejection"]
pub struct PublisherConfirm {
    inner: Option<lapin::PublisherConfirm>,
    /// `None` if the span has ended.
    operation: Option<MessagingOperation>,
    unawaited: Option<Arc<Unawaited>>,
}

impl Future for PublisherConfirm {
    type Output = Result<Confirmation>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(Err(ErrorKind::FutureCompleted.into()));
        };
        let answer = ready!(Pin::new(inner).poll(cx));
        this.inner = None;
        if let Some(operation) = this.operation.take() {
            finish(operation, &answer);
        }
        Poll::Ready(answer)
    }
}

impl Drop for PublisherConfirm {
    fn drop(&mut self) {
        if let (Some(inner), Some(operation), Some(unawaited)) =
            (self.inner.take(), self.operation.take(), &self.unawaited)
        {
            unawaited.watch(inner, operation);
        }
    }
}

/// Ends the span of a message with the answer of the broker.
fn finish(operation: MessagingOperation, answer: &Result<Confirmation>) {
    if let (Some(span), Ok(confirmation)) = (operation.recording(), answer) {
        set_confirmation(&span, name(confirmation));
    }
    operation.finish(&outcome::of_confirmation(answer));
}

fn name(confirmation: &Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => "returned",
        Confirmation::Ack(None) => "ack",
        Confirmation::Nack(None) => "nack",
        Confirmation::NotRequested => "not_requested",
    }
}
