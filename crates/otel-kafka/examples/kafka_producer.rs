//! Sends one record within a span of the application, and prints the trace: `cargo run -p otel-kafka --example kafka_producer`.
//! Without an address of a broker as argument it uses librdkafka's mock cluster.

mod common;

use std::error::Error;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _};
use otel_kafka::FutureProducer;
use rdkafka::producer::FutureRecord;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let broker = common::Broker::from_arguments()?;
    let producer: FutureProducer = broker.config().create()?;
    // A topic's known limit keeps its records small enough for their headers.
    let producer = producer.with_topic_limit("orders", 1_048_588);

    let tracer = global::tracer("shop");
    let checkout = opentelemetry::Context::new().with_span(tracer.start("checkout"));
    let record = FutureRecord::to("orders").key("4711").payload("one book");
    // The `send` span is a child of `checkout` and ends with the delivery report; the record carries its context.
    let delivery = producer.send(record, Duration::from_secs(5)).with_context(checkout).await;
    delivery.map_err(|(error, _)| error)?;
    telemetry.shutdown()?;
    Ok(())
}
