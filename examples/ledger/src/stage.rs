//! Setup of telemetry, and the drawing of traces.

use std::path::PathBuf;
use std::time::Duration;

use otel_telemetry::{Exporter, Telemetry};
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The telemetry of the service.
pub(crate) struct Stage {
    waterfall: Waterfall,
    page: PathBuf,
    open_spans: OpenSpans,
    telemetry: Telemetry,
}

impl Stage {
    /// Installs the global providers and the propagator, so that layers, pools and connections need no options. Traces are
    /// drawn, and all signals are also exported if the environment configures an OTLP endpoint.
    pub(crate) fn new() -> Result<Self, Failure> {
        let page = std::env::current_exe()?.with_extension("html");
        // The demonstration draws each trace when its spans have ended, so that the quiet period must not expire.
        let waterfall = Waterfall::stdout().with_quiet(Duration::from_secs(60 * 60)).with_html(&page)?;
        let open_spans = OpenSpans::default();
        let (exporter, counted) = (waterfall.exporter(), open_spans.clone());
        let telemetry = Telemetry::builder()
            .with_service_name("ledger")
            .with_service_version(env!("CARGO_PKG_VERSION"))
            .with_exporters(Exporter::OtlpIfConfigured)
            // The exporter comes before `open_spans`, so that a span has been exported when it counts as closed.
            .map_tracer_provider(|traces| traces.with_simple_exporter(exporter).with_span_processor(counted))
            .init()?;
        Ok(Self { waterfall, page, open_spans, telemetry })
    }

    /// Waits until all spans have ended, and draws their traces.
    pub(crate) async fn draw(&self) -> Result<(), Failure> {
        timeout(PATIENCE, self.open_spans.none()).await.map_err(|_| "a span did not end in time")?;
        println!();
        self.waterfall.flush();
        Ok(())
    }

    pub(crate) async fn shut_down(self) {
        // Export failures are logged as warnings.
        self.telemetry.shutdown().await;
        eprintln!("All traces on one page: {}", self.page.display());
    }
}
