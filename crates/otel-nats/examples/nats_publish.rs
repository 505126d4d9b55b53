//! Publishes a message within a span of the application, processes it, and prints the trace:
//! `cargo run -p otel-nats --example nats_publish -- nats://localhost:4222`.

mod common;

use std::error::Error;

use futures_util::StreamExt;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, global};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let client = otel_nats::connect(common::address()).await?;
    let mut orders = client.subscribe("orders.*").await?;

    let checkout = Context::new().with_span(global::tracer("shop").start("checkout"));
    // The `publish` span is a child of `checkout`, and the message carries its context.
    client.publish("orders.created", "one book".into()).with_context(checkout.clone()).await?;
    if let Some(order) = orders.next().await {
        order.process(async |order| std::str::from_utf8(&order.payload).map(str::len)).await?;
    }
    checkout.span().end();
    telemetry.shutdown()?;
    Ok(())
}
