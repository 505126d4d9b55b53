//! A work queue: each invoice is written by one of several clerks. An invoice that a clerk rejects becomes a dead letter.

use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicPublishOptions, BasicRejectOptions};
use otel_amqp::{Channel, Consumer, Delivery, HandlerOutcome, Outcome};

use crate::Failure;
use crate::queues;
use crate::reports::Reporter;

/// Declares the queue of invoices and the queue of their dead letters.
pub(crate) async fn declare(channel: &Channel, prefix: &str) -> Result<(), Failure> {
    let rejected = rejected(prefix);
    queues::declare(channel, &rejected, None).await?;
    queues::declare(channel, &jobs(prefix), Some(&rejected)).await
}

fn jobs(prefix: &str) -> String {
    format!("{prefix}invoices")
}

fn rejected(prefix: &str) -> String {
    format!("{prefix}rejected")
}

/// Asks for an invoice. The channel has publisher confirms, so the span ends with the confirmation of the broker.
pub(crate) async fn ask(channel: &Channel, prefix: &str, order: &str) -> Result<(), Failure> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let queue = jobs(prefix);
    let sent = channel.basic_publish("".into(), queue.into(), options, order.as_bytes(), properties);
    sent.await?.await?;
    Ok(())
}

/// The outcome of writing an invoice.
enum Written {
    Done,
    NoTotal,
}

impl HandlerOutcome for Written {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Done => Outcome::ok(),
            Self::NoTotal => Outcome::error("no_total"),
        }
    }
}

/// A worker of the queue.
#[derive(Debug)]
pub(crate) struct Clerk {
    orders: Consumer,
    reporter: Reporter,
}

impl Clerk {
    pub(crate) async fn new(channel: &Channel, prefix: &str, reporter: Reporter) -> Result<Self, Failure> {
        Ok(Self { orders: queues::consume(channel, &jobs(prefix)).await?, reporter })
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        while let Some(order) = self.orders.next().await {
            let order = order?;
            // Settling inside of `process` has the settlement in the trace of the order.
            order
                .process(async |order| {
                    let written = self.write(order);
                    // A settlement that fails is an error of its span, and the broker delivers the order again.
                    let _ = match written {
                        Written::Done => order.ack(BasicAckOptions::default()).await,
                        Written::NoTotal => order.reject(BasicRejectOptions::default()).await,
                    };
                    written
                })
                .await;
        }
        Ok(())
    }

    fn write(&self, order: &Delivery) -> Written {
        let text = String::from_utf8_lossy(&order.data);
        if text.ends_with("EUR") {
            self.reporter.send(format_args!("writes an invoice for {text:?}"));
            Written::Done
        } else {
            self.reporter.send(format_args!("finds no total in {text:?}"));
            Written::NoTotal
        }
    }
}

/// The reader of the dead letters.
#[derive(Debug)]
pub(crate) struct Complaints {
    rejected: Consumer,
    reporter: Reporter,
}

impl Complaints {
    pub(crate) async fn new(channel: &Channel, prefix: &str, reporter: Reporter) -> Result<Self, Failure> {
        Ok(Self { rejected: queues::consume(channel, &rejected(prefix)).await?, reporter })
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        while let Some(order) = self.rejected.next().await {
            let order = order?;
            order
                .process(async |order| {
                    let text = String::from_utf8_lossy(&order.data);
                    self.reporter.send(format_args!("asks for the total of {text:?}"));
                    order.ack(BasicAckOptions::default()).await
                })
                .await?;
        }
        Ok(())
    }
}
