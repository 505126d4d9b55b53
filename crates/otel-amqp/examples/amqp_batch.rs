//! Messages that are processed together, in one span that links to each of them, and acknowledged with one settlement:
//! `cargo run -p otel-amqp --example amqp_batch -- amqp://localhost:5672`.

mod common;

use std::error::Error;

use futures_util::TryStreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use otel_amqp::{Delivery, Options};

async fn store(batch: &[Delivery]) -> Result<usize, std::str::Utf8Error> {
    batch.iter().map(|delivery| std::str::from_utf8(&delivery.data).map(str::len)).sum()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let channel = common::open("sales", Options::new()).await?;
    for _ in 0..3 {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        // If the confirmation is not awaited, a task waits for it and ends the span.
        drop(channel.basic_publish("".into(), "sales".into(), options, b"one book", properties).await?);
    }
    channel.wait_for_confirms().await?;

    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut sales = channel.basic_consume("sales".into(), "ledger".into(), options, arguments).await?;
    let mut batch = Vec::new();
    while let Some(sale) = sales.try_next().await? {
        batch.push(sale);
        if batch.len() == 3 {
            break;
        }
    }
    channel.processing_batch(&batch).run(store(&batch)).await?;
    if let Some(last) = batch.last() {
        last.ack(BasicAckOptions { multiple: true }).await?;
    }
    telemetry.shutdown()?;
    Ok(())
}
