//! Messages that are processed together, in one span that links to each of them:
//! `cargo run -p otel-kafka --example kafka_batch -- localhost:9092`.

use std::error::Error;

use otel_kafka::{BorrowedMessage, StreamConsumer};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{ClientConfig, Message};

async fn store(batch: &[BorrowedMessage<'_>]) -> Result<usize, std::str::Utf8Error> {
    let payloads = batch.iter().map(|message| message.payload().unwrap_or_default());
    payloads.map(|payload| std::str::from_utf8(payload).map(str::len)).sum()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "example").set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "false");
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&["orders"])?;

    let mut batch = Vec::new();
    while batch.len() < 100 {
        batch.push(consumer.recv().await?);
    }
    consumer.processing_batch(&batch).run(store(&batch)).await?;
    drop(batch);
    consumer.commit_consumer_state(CommitMode::Async)?;
    Ok(())
}
