//! Sends a request, which another task answers, and prints the trace:
//! `cargo run -p otel-nats --example nats_request -- nats://localhost:4222`.

mod common;

use std::error::Error;

use async_nats::PublishError;
use otel_nats::{Client, Message, Subscriber};

/// Answers in the trace of the requester, as one of a queue group.
async fn answer(client: Client, mut requests: Subscriber) {
    let handler = async |request: Message| -> Result<(), PublishError> {
        match &request.reply {
            Some(reply) => client.publish(reply.clone(), "7".into()).await,
            None => Ok(()),
        }
    };
    requests.process_each(std::future::pending(), handler).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let client = otel_nats::connect(common::address()).await?;
    let requests = client.queue_subscribe("prices.*", "till".to_owned()).await?;
    let answering = tokio::spawn(answer(client.clone(), requests));

    // The `request` span ends with the reply. Without a responder its `error.type` is `NoResponders`.
    let reply = client.request("prices.books", "".into()).await?;
    let _price: u32 = std::str::from_utf8(&reply.payload)?.parse()?;
    // The subscription ends, and with it the loop of the other task.
    client.drain().await?;
    answering.await?;
    telemetry.shutdown()?;
    Ok(())
}
