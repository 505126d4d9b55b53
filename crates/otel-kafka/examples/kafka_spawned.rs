//! Messages that are processed by tasks of their own, after they were detached from their consumer:
//! `cargo run -p otel-kafka --example kafka_spawned -- localhost:9092`.

use std::error::Error;

use otel_kafka::{OwnedMessage, StreamConsumer};
use rdkafka::consumer::Consumer;
use rdkafka::{ClientConfig, Message};
use tokio::task::JoinSet;

async fn handle(message: OwnedMessage) -> Result<usize, std::str::Utf8Error> {
    // The span is a child of the producer's, on whatever thread the task runs.
    message
        .process(async |message| Ok(std::str::from_utf8(message.payload().unwrap_or_default())?.len()))
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "example").set("auto.offset.reset", "earliest");
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&["orders"])?;

    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let message = consumer.recv().await?;
        tasks.spawn(handle(message.detach()));
    }
    tasks.join_all().await;
    Ok(())
}
