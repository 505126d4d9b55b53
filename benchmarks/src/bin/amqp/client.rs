//! The measured channels: lapin's with a header written by hand, and otel-amqp's.

use std::sync::LazyLock;

use benchmarks::messages::Variant;
use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};

/// The queue, whose name has the same length in each process. Without a consumer it does not exist, and the broker drops the
/// messages.
pub(crate) static QUEUE: LazyLock<String> = LazyLock::new(|| format!("orders-{:07}", std::process::id()));

pub(crate) const PAYLOAD: [u8; 100] = [b'x'; 100];

/// A measured channel.
pub(crate) trait Measured {
    type Consumer;

    /// Publishes a message, and waits for the confirmation if the channel has confirmations.
    async fn publish(&self, variant: Variant);

    async fn consume(&self) -> Self::Consumer;

    /// Receives a message and processes it.
    async fn process(&self, consumer: &mut Self::Consumer);
}

/// Returns properties with the context that the variant has, written by hand.
pub(crate) fn properties(variant: Variant) -> BasicProperties {
    let Some(value) = variant.by_hand() else { return BasicProperties::default() };
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(value.into()));
    BasicProperties::default().with_headers(headers)
}

/// The options of a consumer of which the broker waits for no acknowledgement, so that it sends all messages at once.
pub(crate) fn consuming() -> BasicConsumeOptions {
    BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() }
}

impl Measured for lapin::Channel {
    type Consumer = lapin::Consumer;

    async fn publish(&self, variant: Variant) {
        let (key, options) = (QUEUE.as_str().into(), BasicPublishOptions::default());
        let sent = self.basic_publish("".into(), key, options, &PAYLOAD, properties(variant)).await;
        sent.expect("the message is sent").await.expect("the message is confirmed");
    }

    async fn consume(&self) -> Self::Consumer {
        let consumer =
            self.basic_consume(QUEUE.as_str().into(), "".into(), consuming(), FieldTable::default());
        consumer.await.expect("the queue exists")
    }

    async fn process(&self, consumer: &mut Self::Consumer) {
        let delivery = consumer.next().await.expect("the consumer is open").expect("a message is received");
        assert_eq!(delivery.data.len(), 100);
    }
}

impl Measured for otel_amqp::Channel {
    type Consumer = otel_amqp::Consumer;

    async fn publish(&self, _variant: Variant) {
        let (key, options) = (QUEUE.as_str().into(), BasicPublishOptions::default());
        let sent = self.basic_publish("".into(), key, options, &PAYLOAD, BasicProperties::default()).await;
        sent.expect("the message is sent").await.expect("the message is confirmed");
    }

    async fn consume(&self) -> Self::Consumer {
        let consumer =
            self.basic_consume(QUEUE.as_str().into(), "".into(), consuming(), FieldTable::default());
        consumer.await.expect("the queue exists")
    }

    async fn process(&self, consumer: &mut Self::Consumer) {
        let delivery = consumer.next().await.expect("the consumer is open").expect("a message is received");
        delivery.process(async |delivery| assert_eq!(delivery.data.len(), 100)).await;
    }
}
