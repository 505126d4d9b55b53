//! The broker's address and the telemetry of the examples: finished spans are drawn on the standard output.

use lapin::ConnectionProperties;
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use opentelemetry::global;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_amqp::{Channel, Connection, Options};
use otel_propagation::CompositePropagator;
use otel_waterfall::Waterfall;

/// Sets the global propagator and a provider that draws each trace when its root ends. `otel-telemetry` does more.
pub(crate) fn telemetry() -> SdkTracerProvider {
    let waterfall = Waterfall::stdout().with_attributes(["messaging.*", "error.type"]);
    let provider = SdkTracerProvider::builder().with_simple_exporter(waterfall.exporter()).build();
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(CompositePropagator::default());
    provider
}

/// Connects to the first argument, or to the usual address of a broker, and opens a channel with publisher confirms and a
/// queue that is deleted with the connection.
pub(crate) async fn open(queue: &str, options: Options) -> lapin::Result<Channel> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "amqp://localhost:5672".to_owned());
    let connection = Connection::connect(&address, ConnectionProperties::default()).await?;
    let channel = connection.with_options(options).create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), exclusive, FieldTable::default()).await?;
    Ok(channel)
}
