//! Processes a message in a task of its own, whose span lasts until the task is done:
//! `cargo run -p otel-amqp --example amqp_spawned -- amqp://localhost:5672`.

mod common;

use std::error::Error;

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use otel_amqp::{Delivery, Options};

async fn handle(delivery: Delivery) -> Result<bool, lapin::Error> {
    let stored = delivery.process(async |delivery| std::str::from_utf8(&delivery.data).map(str::len)).await;
    match stored {
        Ok(_) => delivery.ack(BasicAckOptions::default()).await,
        Err(_) => Ok(false),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let channel = common::open("orders", Options::new()).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), "orders".into(), options, b"one book", properties).await?.await?;

    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut orders = channel.basic_consume("orders".into(), "till".into(), options, arguments).await?;
    if let Some(order) = orders.next().await {
        assert!(tokio::spawn(handle(order?)).await??);
    }
    telemetry.shutdown()?;
    Ok(())
}
