//! Publishes to a stream, and processes its messages with a durable consumer that acknowledges what succeeds and rejects
//! what fails: `cargo run -p otel-nats --features jetstream --example nats_consumer -- nats://localhost:4222`.

mod common;

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::Config;
use otel_nats::jetstream::{self, JetStreamMessage};
use otel_nats::{Acknowledgement, Options};

async fn handle(message: JetStreamMessage) -> Result<usize, &'static str> {
    // The `process` span is current here. The second delivery succeeds.
    match message.info() {
        Ok(info) if info.delivered == 1 => Err("out of stock"),
        _ => Ok(message.payload.len()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let telemetry = common::telemetry();
    let options = Options::new().with_acknowledgement(Acknowledgement::ByOutcome);
    let context = jetstream::new(otel_nats::connect(common::address()).await?.with_options(options));
    let config =
        Config { name: "ORDERS".to_owned(), subjects: vec!["orders.>".to_owned()], ..Config::default() };
    let stream = context.get_or_create_stream(config).await?;
    // A message that is older than its consumer would be linked to its producer, and not continue the trace.
    let config = pull::Config { durable_name: Some("till".to_owned()), ..pull::Config::default() };
    let consumer = stream.get_or_create_consumer("till", config).await?;

    // The span ends with the acknowledgement.
    context.publish("orders.created", "one book".into()).await?.await?;
    // A handler that takes longer than the consumer's `ack_wait` of 30 s keeps its message.
    let mut messages = consumer.messages().await?.with_progress(Duration::from_secs(15));
    let stop = tokio::time::sleep(Duration::from_secs(2));
    messages.process_each_concurrent(16, stop, handle).await?;
    telemetry.shutdown()?;
    Ok(())
}
