//! Processes the messages of a queue in a loop that acknowledges each with success, and rejects the others:
//! `cargo run -p otel-amqp --example amqp_consumer -- amqp://localhost:5672`.

mod common;

use std::error::Error;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use otel_amqp::{Acknowledgement, Delivery, Options};

async fn handle(delivery: Delivery) -> Result<(), lapin::Error> {
    // The `process` span is current here, and the rejection is its child.
    if delivery.data.is_empty() {
        delivery.reject(BasicRejectOptions { requeue: false }).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let options = Options::new().with_acknowledgement(Acknowledgement::OnSuccess);
    let channel = common::open("orders", options).await?;
    channel.basic_qos(16, BasicQosOptions::default()).await?;
    for order in ["one book", ""] {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sent = channel.basic_publish("".into(), "orders".into(), options, order.as_bytes(), properties);
        sent.await?.await?;
    }

    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut orders = channel.basic_consume("orders".into(), "till".into(), options, arguments).await?;
    let stop = tokio::time::sleep(Duration::from_secs(1));
    orders.process_each_concurrent(16, stop, handle).await?;
    telemetry.shutdown()?;
    Ok(())
}
