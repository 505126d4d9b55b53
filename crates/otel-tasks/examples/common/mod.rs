//! The telemetry of the examples: finished spans are drawn on the standard output.

use opentelemetry::global;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_waterfall::Waterfall;

/// Sets a global provider that draws each trace when its root ends. `otel-telemetry` does more.
pub(crate) fn telemetry() -> SdkTracerProvider {
    let waterfall = Waterfall::stdout().with_attributes(["task.*", "channel.*"]);
    let provider = SdkTracerProvider::builder().with_simple_exporter(waterfall.exporter()).build();
    global::set_tracer_provider(provider.clone());
    provider
}
