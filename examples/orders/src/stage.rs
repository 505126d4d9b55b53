//! Setup of telemetry, and the drawing of traces.
//!
//! A process with a single service calls `init` instead of `build`. `init` installs the global providers and the
//! propagator, and the clients need no options. The demonstration runs several services with different values of
//! `service.name`, so each builds its own telemetry and passes it to its clients.

use std::path::PathBuf;
use std::time::Duration;

use otel_kafka::Options;
use otel_telemetry::{Exporter, SetupError, Telemetry};
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The telemetry of all services.
pub(crate) struct Stage {
    waterfall: Waterfall,
    page: PathBuf,
    open_spans: OpenSpans,
    services: Vec<Telemetry>,
}

impl Stage {
    pub(crate) fn new() -> Result<Self, Failure> {
        let page = std::env::current_exe()?.with_extension("html");
        // The demonstration draws each trace when its spans have ended, so that the quiet period must not expire.
        let waterfall = Waterfall::stdout()
            .with_quiet(Duration::from_secs(60 * 60))
            .with_attributes(["messaging.client.id", "messaging.batch.message_count"])
            .with_html(&page)?;
        Ok(Self { waterfall, open_spans: OpenSpans::default(), services: Vec::new(), page })
    }

    /// Builds the telemetry of one service and returns the options of its clients. Traces are drawn, and all signals
    /// are also exported if the environment configures an OTLP endpoint.
    pub(crate) fn service(&mut self, name: &'static str) -> Result<Options, SetupError> {
        let (waterfall, open_spans) = (self.waterfall.exporter(), self.open_spans.clone());
        let telemetry = Telemetry::builder()
            .with_service_name(name)
            .with_service_version(env!("CARGO_PKG_VERSION"))
            .with_exporters(Exporter::OtlpIfConfigured)
            // The exporter comes before `open_spans`, so that a span has been exported when it counts as closed.
            .map_tracer_provider(|traces| {
                traces.with_simple_exporter(waterfall).with_span_processor(open_spans)
            })
            .build()?;
        let options = Options::new()
            .with_tracer_provider(telemetry.tracer_provider())
            .with_meter_provider(telemetry.meter_provider())
            .with_propagator(telemetry.propagator().clone());
        self.services.push(telemetry);
        Ok(options)
    }

    /// Waits until all spans have ended, and draws their traces.
    pub(crate) async fn draw(&self) -> Result<(), Failure> {
        timeout(PATIENCE, self.open_spans.none()).await.map_err(|_| "a span did not end in time")?;
        println!();
        self.waterfall.flush();
        Ok(())
    }

    pub(crate) async fn shut_down(self) {
        for telemetry in self.services {
            // Export failures are logged as warnings.
            telemetry.shutdown().await;
        }
        eprintln!("All traces on one page: {}", self.page.display());
    }
}
