//! Sends two records in a transaction, and aborts another one: `cargo run -p otel-kafka --example kafka_transaction`. Without an
//! address of a broker as argument it uses librdkafka's mock cluster.

mod common;

use std::error::Error;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::Tracer as _;
use otel_kafka::ThreadedProducer;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer as _};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let broker = common::Broker::from_arguments()?;
    let mut config = broker.config();
    config.set("transactional.id", "bank");
    let producer: ThreadedProducer = config.create()?;
    let tracer = global::tracer("bank");
    // The calls of a transaction block, and their spans are children of the current span of their thread.
    tracer.in_span("transfer", |_| transfer(&producer))?;
    telemetry.shutdown()?;
    Ok(())
}

fn transfer(producer: &ThreadedProducer) -> Result<(), KafkaError> {
    producer.init_transactions(PATIENCE)?;
    producer.begin_transaction()?;
    for payload in ["-10", "+10"] {
        producer.send(BaseRecord::to("orders").key("4711").payload(payload)).map_err(|(error, _)| error)?;
    }
    producer.commit_transaction(PATIENCE)?;

    // A record that is purged with its transaction has the error type `aborted`.
    producer.begin_transaction()?;
    producer.send(BaseRecord::to("orders").key("4711").payload("-99")).map_err(|(error, _)| error)?;
    producer.abort_transaction(PATIENCE)
}
