//! Where telemetry is set up, and what draws it.
//!
//! A program that is one service calls `init` instead of `build`, which installs the providers and the propagator, and
//! its clients need no options. The demonstration is several services in one process, each with a `service.name` of its
//! own, so each has its telemetry and gives it to its clients.

use std::time::Duration;

use otel_kafka::Options;
use otel_telemetry::{Exporter, SetupError, Telemetry};
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The telemetry of all services.
pub(crate) struct Stage {
    waterfall: Waterfall,
    open_spans: OpenSpans,
    services: Vec<Telemetry>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        // The demonstration knows when a trace is over: nothing is left to time.
        let waterfall = Waterfall::stdout()
            .with_quiet(Duration::from_secs(60 * 60))
            .with_attributes(["messaging.client.id", "messaging.batch.message_count"]);
        Self { waterfall, open_spans: OpenSpans::default(), services: Vec::new() }
    }

    /// Sets up the telemetry of one service, and gives the options with which its clients record: its traces are drawn,
    /// and all of it goes to a collector, too, if the environment says where one is.
    pub(crate) fn service(&mut self, name: &'static str) -> Result<Options, SetupError> {
        let (waterfall, open_spans) = (self.waterfall.exporter(), self.open_spans.clone());
        let telemetry = Telemetry::builder()
            .with_service_name(name)
            .with_service_version(env!("CARGO_PKG_VERSION"))
            .with_exporters(Exporter::OtlpIfConfigured)
            // The exporter comes first: a span that is no longer open has been drawn.
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

    /// Waits until nothing is under way, and draws all that has ended.
    pub(crate) async fn draw(&self) -> Result<(), Failure> {
        timeout(PATIENCE, self.open_spans.none()).await.map_err(|_| "a span does not end")?;
        println!();
        self.waterfall.flush();
        Ok(())
    }

    pub(crate) async fn shut_down(self) {
        for telemetry in self.services {
            // What did not end well is in the log, as a warning.
            telemetry.shutdown().await;
        }
    }
}
