//! A topic exchange: each service gets a copy of the payments that it is interested in.

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation, ExchangeKind};
use otel_amqp::{Channel, Consumer};

use crate::Failure;
use crate::queues;
use crate::reports::Reporter;

/// Declares the exchange, which the broker deletes with its last binding.
pub(crate) async fn declare(channel: &Channel, prefix: &str) -> Result<(), Failure> {
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(exchange(prefix).into(), ExchangeKind::Topic, options, FieldTable::default())
        .await?;
    Ok(())
}

fn exchange(prefix: &str) -> String {
    format!("{prefix}payments")
}

/// Publishes a payment. Returns the name of the broker's answer.
pub(crate) async fn publish(channel: &Channel, prefix: &str, key: &str) -> Result<&'static str, Failure> {
    // The broker returns a message that no queue is bound for, instead of dropping it.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let exchange = exchange(prefix);
    let sent =
        channel.basic_publish(exchange.into(), key.into(), options, b"18 EUR", BasicProperties::default());
    Ok(match sent.await?.await? {
        Confirmation::Ack(None) => "confirmed",
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => "returned",
        Confirmation::Nack(None) => "rejected",
        Confirmation::NotRequested => "sent",
    })
}

/// A service that follows the payments whose keys match a pattern.
#[derive(Debug)]
pub(crate) struct Follower {
    payments: Consumer,
    reporter: Reporter,
}

impl Follower {
    pub(crate) async fn new(
        channel: &Channel,
        prefix: &str,
        (queue, pattern): (&str, &str),
        reporter: Reporter,
    ) -> Result<Self, Failure> {
        let queue = format!("{prefix}{queue}");
        queues::declare(channel, &queue, None).await?;
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(
            queue.as_str().into(),
            exchange(prefix).into(),
            pattern.into(),
            options,
            arguments,
        );
        bound.await?;
        Ok(Self { payments: queues::consume(channel, &queue).await?, reporter })
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        while let Some(payment) = self.payments.next().await {
            let payment = payment?;
            payment
                .process(async |payment| {
                    let text = String::from_utf8_lossy(&payment.data);
                    self.reporter.send(format_args!("books {text} under {}", payment.routing_key));
                    payment.ack(BasicAckOptions::default()).await
                })
                .await?;
        }
        Ok(())
    }
}
