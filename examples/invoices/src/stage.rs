//! Setup of telemetry, and the drawing of traces.
//!
//! A process with a single service calls `init` instead of `build`, which installs the global providers and the propagator,
//! and its connection needs no options. The demonstration runs several services, so each builds its own telemetry and passes
//! it to its connection.

use std::path::PathBuf;
use std::time::Duration;

use lapin::ConnectionProperties;
use lapin::options::ConfirmSelectOptions;
use otel_amqp::{Channel, Connection, Options};
use otel_telemetry::{Exporter, Telemetry};
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The attributes that are drawn below a span.
const DRAWN: [&str; 3] = [
    "messaging.rabbitmq.message.confirmation",
    "messaging.rabbitmq.message.death_count",
    "messaging.rabbitmq.message.first_death_queue",
];

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
    /// Creates a stage. The prefix of the queues does not appear in the names of spans.
    pub(crate) fn new(address: &str, prefix: &str) -> Result<Self, Failure> {
        let page = std::env::current_exe()?.with_extension("html");
        // The demonstration draws each trace when its spans have ended, so that the quiet period must not expire.
        let waterfall = Waterfall::stdout()
            .with_quiet(Duration::from_secs(60 * 60))
            .with_attributes(DRAWN)
            .with_html(&page)?;
        let (address, prefix) = (address.to_owned(), prefix.to_owned());
        Ok(Self { address, prefix, waterfall, open_spans: OpenSpans::default(), services: Vec::new(), page })
    }

    /// Connects one service, and opens a channel with publisher confirms. Its traces are drawn, and all signals are also
    /// exported if the environment configures an OTLP endpoint.
    pub(crate) async fn channel(&mut self, name: &'static str) -> Result<Channel, Failure> {
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
            .with_destination_template(move |name| name.strip_prefix(&prefix).map(str::to_owned));
        self.services.push(telemetry);
        let connected = Connection::connect(&self.address, ConnectionProperties::default()).await;
        let connection = connected.map_err(|error| format!("cannot connect to the broker: {error}"))?;
        let channel = connection.with_options(options).create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
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
