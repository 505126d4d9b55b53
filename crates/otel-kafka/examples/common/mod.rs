//! The broker and the telemetry of the examples: finished spans are drawn on the standard output.
//! A real broker has to have a topic `orders`.

use std::error::Error;

use opentelemetry::global;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_propagation::CompositePropagator;
use otel_waterfall::Waterfall;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// Sets the global propagator and a provider that draws each trace when its root ends. `otel-telemetry` does more.
pub(crate) fn telemetry() -> SdkTracerProvider {
    let waterfall = Waterfall::stdout().with_attributes(["messaging.*", "error.type"]);
    let provider = SdkTracerProvider::builder().with_simple_exporter(waterfall.exporter()).build();
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(CompositePropagator::default());
    provider
}

/// A real broker, or a mock cluster that lasts as long as this.
pub(crate) enum Broker {
    Real(String),
    Mock(MockCluster<'static, DefaultProducerContext>),
}

impl Broker {
    pub(crate) fn from_arguments() -> Result<Self, Box<dyn Error>> {
        if let Some(address) = std::env::args().nth(1) {
            return Ok(Self::Real(address));
        }
        let mock = MockCluster::new(1)?;
        mock.create_topic("orders", 1, 1)?;
        Ok(Self::Mock(mock))
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set(
            "bootstrap.servers",
            match self {
                Self::Real(address) => address.clone(),
                Self::Mock(mock) => mock.bootstrap_servers(),
            },
        );
        config
    }
}
