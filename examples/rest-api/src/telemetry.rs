//! Setting OpenTelemetry up, once for each service.
//!
//! A service that is alone in its process installs its providers with `opentelemetry::global::set_tracer_provider` and
//! `set_meter_provider`, and makes its layers with `new()` alone. Here are two services in one process, each with a
//! `service.name` of its own, so each has its providers and gives them to its layers.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use otel_http::{ClientLayer, ServerLayer};
use otel_propagation::Composite;
use otel_waterfall::Waterfall;
use tokio::sync::watch;

use crate::console::Console;

/// Metrics are printed when the program ends; whoever waits this long for them earlier gets them, too.
const METRICS_EVERY: Duration = Duration::from_secs(60 * 60);

/// Says how context travels between services: as `traceparent`, `tracestate` and `baggage`. Once for the process.
pub(crate) fn install_propagator() {
    otel_propagation::set_global(Composite::default());
}

/// The providers of one service.
pub(crate) struct Telemetry {
    tracer_provider: SdkTracerProvider,
    meter_provider: SdkMeterProvider,
}

impl Telemetry {
    pub(crate) fn new(service: &'static str, waterfall: &Waterfall, open_spans: &OpenSpans) -> Self {
        let resource = Resource::builder().with_service_name(service).build();
        let metrics = PeriodicReader::builder(Console).with_interval(METRICS_EVERY).build();
        Self {
            tracer_provider: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_simple_exporter(waterfall.exporter())
                // After the exporter: a span that is no longer open has been exported.
                .with_span_processor(open_spans.clone())
                .build(),
            meter_provider: SdkMeterProvider::builder().with_resource(resource).with_reader(metrics).build(),
        }
    }

    /// What records the requests that the service answers.
    pub(crate) fn server_layer(&self) -> ServerLayer {
        ServerLayer::new()
            .with_tracer_provider(&self.tracer_provider)
            .with_meter_provider(&self.meter_provider)
    }

    /// What records the requests that the service makes.
    pub(crate) fn client_layer(&self) -> ClientLayer {
        ClientLayer::new()
            .with_tracer_provider(&self.tracer_provider)
            .with_meter_provider(&self.meter_provider)
    }

    /// Exports what is left: the last traces are drawn, the metrics printed.
    pub(crate) fn shutdown(self) -> OTelSdkResult {
        self.tracer_provider.shutdown()?;
        self.meter_provider.shutdown()
    }
}

/// Counts the spans that have started and not ended, over all services, so that the demonstration can tell when a
/// trace is over. A real service needs nothing like it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenSpans(watch::Sender<usize>);

impl OpenSpans {
    /// Waits until no span is open. What a server does may outlast its answer: it notices late that a caller has gone.
    pub(crate) async fn none(&self) {
        // Nothing but the end of the last sender makes this fail, and `self` is one.
        let _ = self.0.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl SpanProcessor for OpenSpans {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {
        self.0.send_modify(|open| *open += 1);
    }

    fn on_end(&self, _span: SpanData) {
        self.0.send_modify(|open| *open -= 1);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
