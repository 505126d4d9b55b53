//! Messages that are processed together, in one span that links to each of them:
//! `cargo run -p otel-nats --features jetstream --example nats_batch -- nats://localhost:4222`.

mod common;

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::Config;
use futures_util::TryStreamExt;
use otel_nats::jetstream::{self, JetStreamMessage};

async fn store(batch: &[JetStreamMessage]) -> Result<usize, std::str::Utf8Error> {
    batch.iter().map(|message| std::str::from_utf8(&message.payload).map(str::len)).sum()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let telemetry = common::telemetry();
    let context = jetstream::new(otel_nats::connect(common::address()).await?);
    let config =
        Config { name: "SALES".to_owned(), subjects: vec!["sales.>".to_owned()], ..Config::default() };
    let stream = context.get_or_create_stream(config).await?;
    let config = pull::Config { durable_name: Some("ledger".to_owned()), ..pull::Config::default() };
    let consumer = stream.get_or_create_consumer("ledger", config).await?;
    for _ in 0..3 {
        // If the acknowledgement is not awaited, a task waits for it and ends the span.
        drop(context.publish("sales.books", "one book".into()).await?);
    }
    context.wait_for_acks().await;

    // `batch` waits for the messages; `fetch` takes those that exist.
    let messages = consumer.batch().max_messages(3).expires(Duration::from_secs(5)).messages().await?;
    let batch: Vec<JetStreamMessage> = messages.try_collect().await?;
    context.processing_batch(&batch).run(store(&batch)).await?;
    for message in &batch {
        message.ack().await?;
    }
    context.inner().client().flush().await?;
    telemetry.shutdown()?;
    Ok(())
}
