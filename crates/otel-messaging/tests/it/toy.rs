//! The instrumentation of a broker's client in full: a producer and a consumer of the toy broker.

use std::task::Poll;

use futures_util::Stream;
use opentelemetry::{Context, KeyValue};
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    Acknowledgement, CarriedContext, Destination, DestinationDescription, HeaderBudget, InboundMessage,
    MessagingInstrumentation, MessagingOperation, Options, OutboundMessage, Settler, record_received,
    start_processing, start_settling,
};
use otel_operation::Outcome;
use otel_propagation::{HeaderReader, HeaderWriter};
use otel_testing::toy_broker::{ToyBroker, ToyDelivery, ToyError, ToyMessage};

use crate::support::scope;

/// An instrumented client of the broker.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) broker: ToyBroker,
    pub(crate) messaging: MessagingInstrumentation,
}

impl Client {
    pub(crate) fn new(broker: &ToyBroker, options: Options) -> Self {
        let messaging = MessagingInstrumentation::builder("toy", scope()).build(options);
        Self { broker: broker.clone(), messaging }
    }

    fn subject(&self, name: &str) -> Destination {
        self.messaging.destination(&[name], || DestinationDescription::new().with_name(name))
    }

    pub(crate) async fn publish(&self, message: ToyMessage) -> Result<u64, ToyError> {
        let mut outbound = Outbound { subject: message.subject, headers: Headers(message.headers) };
        let send = self.subject(&outbound.subject);
        let send = send.send("publish");
        let send = send.start_outbound(&Context::current(), &mut outbound, HeaderBudget::Unlimited);
        let Outbound { subject, headers } = outbound;
        let message = ToyMessage { subject, headers: headers.0, payload: message.payload };
        send.run_with(self.broker.publish(message), outcome).await
    }

    fn received(&self, inner: ToyDelivery) -> Message {
        let destination = self.subject(&inner.message.subject);
        let message = Message { inner, destination, carried: CarriedContext::new() };
        record_received(&message, "deliver", self.messaging.receive_start());
        message
    }

    pub(crate) async fn receive(&self) -> Message {
        self.received(self.broker.receive().await)
    }

    pub(crate) fn messages(&self) -> impl Stream<Item = Result<Message, ToyError>> {
        futures_util::stream::poll_fn(|cx| match self.broker.poll_receive(cx) {
            Poll::Ready(delivery) => Poll::Ready(Some(Ok(self.received(delivery)))),
            Poll::Pending => Poll::Pending,
        })
    }
}

pub(crate) fn outcome<T>(result: &Result<T, ToyError>) -> Outcome {
    result.as_ref().map_or_else(|_| Outcome::error("refused"), |_| Outcome::ok())
}

/// A received message.
pub(crate) struct Message {
    pub(crate) inner: ToyDelivery,
    destination: Destination,
    carried: CarriedContext,
}

impl Message {
    pub(crate) fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }

    pub(crate) async fn ack(&self) -> Result<(), ToyError> {
        start_settling(self, "ack").run_with(self.inner.ack(), outcome).await
    }

    pub(crate) async fn nack(&self) -> Result<(), ToyError> {
        start_settling(self, "nack").run_with(self.inner.nack(), outcome).await
    }
}

impl InboundMessage for Message {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderList(&self.inner.message.headers)
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        attributes.body_size(self.inner.message.payload.len());
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        attributes.push(KeyValue::new("toy.sequence", i64::try_from(self.inner.sequence).unwrap()));
    }
}

/// Acknowledges what has succeeded and returns the rest, as the options say. The handler takes the message itself.
pub(crate) struct Settling(pub(crate) Acknowledgement);

impl Settler<std::sync::Arc<Message>, ToyError> for Settling {
    type Receipt = std::sync::Arc<Message>;

    fn receipt(&self, message: &std::sync::Arc<Message>) -> Self::Receipt {
        message.clone()
    }

    async fn settle(&self, message: Self::Receipt, succeeded: bool) -> Result<(), ToyError> {
        match (self.0, succeeded) {
            (Acknowledgement::Never, _) => Ok(()),
            (_, true) => message.ack().await,
            (_, false) => message.nack().await,
        }
    }
}

struct Outbound {
    subject: String,
    headers: Headers,
}

impl OutboundMessage for Outbound {
    type Headers = Headers;

    fn headers(&self) -> Option<&Headers> {
        Some(&self.headers)
    }

    fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    fn describe(&self, _: &mut MessageAttributes) {}
}

struct Headers(Vec<(String, Vec<u8>)>);

impl HeaderReader for Headers {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        self.0.visit(visitor);
    }
}

impl HeaderWriter for Headers {
    fn set(&mut self, name: &str, value: &str) {
        HeaderWriter::remove(self, name);
        self.0.push((name.to_owned(), value.into()));
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }
}

struct HeaderList<'m>(&'m [(String, Vec<u8>)]);

impl HeaderReader for HeaderList<'_> {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        self.0.visit(visitor);
    }
}
