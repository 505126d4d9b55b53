//! Sends a request, which another task answers by direct reply-to, and prints the trace:
//! `cargo run -p otel-amqp --example amqp_rpc -- amqp://localhost:5672`.

mod common;

use std::error::Error;

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, global};
use otel_amqp::{Channel, Consumer, Delivery, Options};
use tokio::sync::oneshot::{self, Receiver};

/// The queue of direct replies: the broker adds a token, which names no span.
const REPLIES: &str = "amq.rabbitmq.reply-to";

async fn publish(channel: &Channel, to: &str, body: &str, properties: BasicProperties) -> lapin::Result<()> {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), to.into(), options, body.as_bytes(), properties).await?.await?;
    Ok(())
}

async fn consume(channel: &Channel, queue: &str) -> lapin::Result<Consumer> {
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue.into(), "".into(), no_ack, FieldTable::default()).await
}

/// Answers in the trace of the requester, until the sender is dropped.
async fn answer(channel: Channel, mut requests: Consumer, stop: Receiver<()>) -> lapin::Result<()> {
    let handler = async |request: Delivery| match request.properties.reply_to() {
        Some(to) => publish(&channel, to.as_str(), "7", BasicProperties::default()).await,
        None => Ok(()),
    };
    requests.process_each(async { drop(stop.await) }, handler).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let channel = common::open("prices", Options::new()).await?;
    let (running, stop) = oneshot::channel();
    let answering = tokio::spawn(answer(channel.clone(), consume(&channel, "prices").await?, stop));

    let mut replies = consume(&channel, REPLIES).await?;
    let checkout = Context::new().with_span(global::tracer("shop").start("checkout"));
    let asking = BasicProperties::default().with_reply_to(REPLIES.into());
    publish(&channel, "prices", "books", asking).with_context(checkout.clone()).await?;
    if let Some(reply) = replies.next().await {
        let _price: u32 = reply?.process(async |reply| String::from_utf8_lossy(&reply.data).parse()).await?;
    }
    drop(running);
    answering.await??;
    checkout.span().end();
    telemetry.shutdown()?;
    Ok(())
}
