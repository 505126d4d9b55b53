//! The server's address and the telemetry of the examples: finished spans are drawn on the standard output.

use opentelemetry::global;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_propagation::CompositePropagator;
use otel_waterfall::Waterfall;

/// Returns the first argument, or the usual address of a server.
pub(crate) fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "redis://localhost:6379".to_owned())
}

/// Sets the global propagator and a provider that draws each trace when its root ends. `otel-telemetry` does more.
pub(crate) fn telemetry() -> SdkTracerProvider {
    let waterfall = Waterfall::stdout().with_attributes(["db.query.text", "messaging.*", "error.type"]);
    let provider = SdkTracerProvider::builder().with_simple_exporter(waterfall.exporter()).build();
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(CompositePropagator::default());
    provider
}
