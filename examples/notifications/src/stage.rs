//! Setup of telemetry, and the drawing of traces.
//!
//! A process with a single service calls `init` instead of `build`, which installs the global providers and the propagator,
//! and its client needs no options. The demonstration runs several services, so each builds its own telemetry and passes it
//! to its client.

use std::path::PathBuf;
use std::time::Duration;

use otel_nats::{Client, Options, connect};
use otel_telemetry::{Exporter, Telemetry};
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The telemetry of all services.
pub(crate) struct Stage {
    address: String,
    prefix: String,
    waterfall: Waterfall,
    pub(crate) page: PathBuf,
    open_spans: OpenSpans,
    services: Vec<Telemetry>,
}

impl Stage {
    /// Creates a stage. The prefix of the subjects does not appear in the names of spans.
    pub(crate) fn new(address: &str, prefix: &str) -> Result<Self, Failure> {
        let page = std::env::current_exe()?.with_extension("html");
        // The demonstration draws each trace when its spans have ended, so that the quiet period must not expire.
        let waterfall = Waterfall::stdout()
            .with_quiet(Duration::from_secs(60 * 60))
            .with_attributes(["messaging.nats.message.delivery_count"])
            .with_html(&page)?;
        let (address, prefix) = (address.to_owned(), prefix.to_owned());
        Ok(Self { address, prefix, waterfall, open_spans: OpenSpans::default(), services: Vec::new(), page })
    }

    /// Connects the client of one service. Its traces are drawn, and all signals are also exported if the environment
    /// configures an OTLP endpoint.
    pub(crate) async fn client(&mut self, name: &'static str) -> Result<Client, Failure> {
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
        let prefix = self.prefix.clone();
        let options = Options::new()
            .with_tracer_provider(telemetry.tracer_provider())
            .with_meter_provider(telemetry.meter_provider())
            .with_propagator(telemetry.propagator().clone())
            .with_destination_template(move |subject| subject.strip_prefix(&prefix).map(str::to_owned));
        self.services.push(telemetry);
        let client = connect(&self.address).await.map_err(|error| format!("{}: {error}", self.address))?;
        Ok(client.with_options(options))
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
    }
}
