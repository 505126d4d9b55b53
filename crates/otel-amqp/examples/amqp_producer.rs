//! Publishes two messages within a span of the application, one of which the broker cannot route, and prints the trace:
//! `cargo run -p otel-amqp --example amqp_producer -- amqp://localhost:5672`.

mod common;

use std::error::Error;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, global};
use otel_amqp::{Channel, Options};

/// Publishes, and returns false if the message was returned.
async fn publish(channel: &Channel, queue: &str) -> lapin::Result<bool> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let durable = BasicProperties::default().with_delivery_mode(2);
    // The span ends with the confirmation, also if that is not awaited.
    let confirm = channel.basic_publish("".into(), queue.into(), options, b"one book", durable).await?;
    Ok(confirm.await?.take_message().is_none())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let channel = common::open("orders", Options::new()).await?;

    let checkout = Context::new().with_span(global::tracer("shop").start("checkout"));
    for queue in ["orders", "missing"] {
        // A child of `checkout`; the `error.type` of the second is `NO_ROUTE`.
        let routed = publish(&channel, queue).with_context(checkout.clone()).await?;
        assert_eq!(routed, queue == "orders");
    }
    checkout.span().end();
    telemetry.shutdown()?;
    Ok(())
}
