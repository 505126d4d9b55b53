//! A consumer that processes the partitions of `orders` side by side and commits what it has processed:
//! `cargo run -p otel-kafka --example kafka_consumer -- localhost:9092`.

use std::error::Error;
use std::time::Duration;

use otel_kafka::{Acknowledgement, BorrowedMessage, Lanes, Options, StreamConsumer};
use rdkafka::consumer::Consumer;
use rdkafka::{ClientConfig, Message};

async fn handle(message: BorrowedMessage<'_>) -> Result<usize, std::str::Utf8Error> {
    // The `process` span is current here. An error is recorded on it, and the message is not committed.
    Ok(std::str::from_utf8(message.payload().unwrap_or_default())?.len())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "example").set("auto.offset.reset", "earliest");
    // The loop stores the offset of each processed message, and librdkafka commits stored offsets.
    config.set("enable.auto.offset.store", "false");
    let consumer: StreamConsumer = config.create()?;
    let consumer =
        consumer.with_options(Options::new().with_acknowledgement(Acknowledgement::StoredOnSuccess));
    consumer.subscribe(&["orders"])?;

    // Running handlers may take three seconds more when the group is rebalanced.
    let lanes = Lanes::new(16).with_drain_deadline(Duration::from_secs(3));
    let stop = tokio::time::sleep(Duration::from_secs(60));
    consumer.for_each_concurrent(lanes, stop, handle).await?;
    Ok(())
}
