//! Setup of telemetry, and the layers that record calls.
//!
//! A process with a single service calls `init` instead of `build`. `init` installs the global providers and the
//! propagator, so that `new()` is enough to build a layer. The demonstration runs three services with different values
//! of `service.name`, so each builds its own telemetry and passes it to its layers.

use opentelemetry_sdk::trace::TracerProviderBuilder;
use otel_grpc::{ClientLayer, DescriptorError, LayerOptions, MessageEvents, ServerLayer};
use otel_telemetry::{Exporter, SetupError, Telemetry};
use otel_waterfall::Waterfall;
use tonic::transport::Uri;

use crate::pb;

/// Draws traces on the standard output, with message events and the status of each call.
pub(crate) fn waterfall() -> Waterfall {
    Waterfall::stdout().with_events().with_attributes(["rpc.response.status_code"])
}

/// Builds the telemetry of one service. Traces are drawn, and all signals are also exported if the environment
/// configures an OTLP endpoint.
pub(crate) fn telemetry(
    service: &str,
    waterfall: &Waterfall,
    more: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder + Send + 'static,
) -> Result<Telemetry, SetupError> {
    let waterfall = waterfall.exporter();
    let telemetry = Telemetry::builder()
        .with_service_name(service.to_owned())
        .with_service_version(env!("CARGO_PKG_VERSION"))
        .with_exporters(Exporter::OtlpIfConfigured)
        .map_tracer_provider(|traces| more(traces.with_simple_exporter(waterfall)))
        .build()?;
    // The propagator is global, and the same for all services.
    otel_propagation::set_global(telemetry.propagator().clone());
    Ok(telemetry)
}

/// The layer that records inbound calls. Methods that are not in the protocol are recorded as `_OTHER`.
pub(crate) fn server_layer(telemetry: &Telemetry) -> Result<ServerLayer, DescriptorError> {
    Ok(ServerLayer::for_services(&[pb::FILE_DESCRIPTOR_SET])?
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
        .with_message_events(MessageEvents::Each))
}

/// The layer that records outbound calls.
pub(crate) fn client_layer(telemetry: &Telemetry, target: &Uri) -> ClientLayer {
    ClientLayer::new()
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
        .with_message_events(MessageEvents::Each)
        .with_target(target)
}
