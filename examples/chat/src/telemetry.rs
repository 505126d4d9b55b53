//! Where telemetry is set up, and the layers that record calls.
//!
//! A program that is one service calls `init` instead of `build`, which installs the providers and the propagator, and makes
//! its layers with `new()` alone. The demonstration is three services in one process, each with a `service.name` of its own,
//! so each has its telemetry and gives it to its layers.

use opentelemetry_sdk::trace::TracerProviderBuilder;
use otel_grpc::{ClientLayer, MessageEvents, ServerLayer};
use otel_telemetry::{Exporter, SetupError, Telemetry};
use otel_waterfall::Waterfall;
use tonic::transport::Uri;

use crate::pb;

/// Pictures on the standard output that show a stream's messages, and with which status it ended.
pub(crate) fn waterfall() -> Waterfall {
    Waterfall::stdout().with_events().with_attributes(["rpc.response.status_code"])
}

/// The telemetry of one service: its traces are drawn, and all of it goes to a collector, too, if the environment says
/// where one is.
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
    // How context travels between services; one for the process, and the same for all.
    otel_propagation::set_global(telemetry.propagator().clone());
    Ok(telemetry)
}

/// What records the calls that the server answers. It knows the protocol's methods; what else strangers call is `_OTHER`.
pub(crate) fn server_layer(telemetry: &Telemetry) -> Result<ServerLayer, prost::DecodeError> {
    ServerLayer::new()
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
        .with_message_events(MessageEvents::Each)
        .with_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
}

/// What records the calls that a member makes.
pub(crate) fn client_layer(telemetry: &Telemetry, target: &Uri) -> ClientLayer {
    ClientLayer::new()
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
        .with_message_events(MessageEvents::Each)
        .with_target(target)
}
