//! Where telemetry is set up, and what draws it.
//!
//! A program that is one service calls `init` instead of `build`. The demonstration is several services in one process, and
//! several processes: each service has telemetry of its own, and all of them write their spans into one file.

use std::collections::HashSet;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use opentelemetry::trace::{TraceId, TracerProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use otel_grpc::{CallHead, ClientLayer, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_telemetry::{Exporter, Telemetry};
use otel_waterfall::{OpenSpans, Style, Trace, from_otlp_json, html, text};
use tokio::time::timeout;

use crate::file::FileExporter;
use crate::{Failure, PATIENCE};

/// What is drawn beside the spans.
const ATTRIBUTES: [&str; 5] = ["request.*", "saga.outcome", "twopc.decision", "twopc.outcome", "twopc.vote"];

/// The telemetry of all services of a process.
pub(crate) struct Stage {
    spans: PathBuf,
    open_spans: OpenSpans,
    services: Vec<Telemetry>,
    drawn: HashSet<TraceId>,
}

/// Where one service records.
pub(crate) struct Providers {
    pub(crate) tracer: SdkTracer,
    pub(crate) traces: SdkTracerProvider,
    pub(crate) metrics: SdkMeterProvider,
    propagator: CompositePropagator,
}

impl Stage {
    /// All processes that are given the same folder have one file of spans.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            spans: folder.join("spans.jsonl"),
            open_spans: OpenSpans::default(),
            services: Vec::new(),
            drawn: HashSet::new(),
        }
    }

    /// Sets up the telemetry of one service: its spans go into the file, and all of it goes to a collector, too, if the
    /// environment says where one is. With it comes the id generator by which a span that a crash has cut off is told
    /// again under its own id.
    pub(crate) fn service(&mut self, name: &'static str) -> Result<Providers, Failure> {
        let (file, open_spans) = (FileExporter::open(&self.spans)?, self.open_spans.clone());
        let telemetry = Telemetry::builder()
            .with_service_name(name)
            .with_service_version(env!("CARGO_PKG_VERSION"))
            .with_exporters(Exporter::OtlpIfConfigured)
            // Each span at its end, and not in batches: the batch of a process that is killed is lost. The exporter comes
            // first: a span that is no longer open has been written.
            .map_tracer_provider(|traces| traces.with_simple_exporter(file).with_span_processor(open_spans))
            .build()?;
        let traces = telemetry.tracer_provider().clone();
        let metrics = telemetry.meter_provider().clone();
        let propagator = telemetry.propagator().clone();
        self.services.push(telemetry);
        Ok(Providers { tracer: traces.tracer("transfer"), traces, metrics, propagator })
    }

    /// Waits until nothing is under way in this process, and draws the traces that were not drawn yet.
    pub(crate) async fn draw(&mut self) -> Result<(), Failure> {
        timeout(PATIENCE, self.open_spans.none()).await.map_err(|_| "a span does not end")?;
        let style = Style::new().with_attributes(ATTRIBUTES);
        println!();
        for trace in self.traces()? {
            if self.drawn.insert(trace.id) {
                println!("{}", text(&trace, &style));
            }
        }
        Ok(())
    }

    /// Writes all traces on one page.
    pub(crate) fn page(&self, path: &Path) -> Result<(), Failure> {
        Ok(std::fs::write(path, html(&self.traces()?))?)
    }

    fn traces(&self) -> Result<Vec<Trace>, Failure> {
        let lines = read_to_string(&self.spans)?;
        // There are none when telemetry is switched off.
        if lines.is_empty() { Ok(Vec::new()) } else { Ok(from_otlp_json(&lines)?) }
    }

    pub(crate) async fn shut_down(self) {
        for telemetry in self.services {
            // What did not end well is in the log, as a warning.
            telemetry.shutdown().await;
        }
    }
}

impl Providers {
    /// What records the calls that this service makes.
    pub(crate) fn client_layer(&self) -> ClientLayer {
        ClientLayer::new()
            .with_tracer_provider(&self.traces)
            .with_meter_provider(&self.metrics)
            .with_propagator(self.propagator.clone())
            .with_filter(is_of_interest)
    }

    /// What records the calls that it answers.
    pub(crate) fn server_layer(&self) -> ServerLayer {
        ServerLayer::new()
            .with_tracer_provider(&self.traces)
            .with_meter_provider(&self.metrics)
            .with_propagator(self.propagator.clone())
            .with_filter(is_of_interest)
    }
}

/// A coordinator looks for what it may have forgotten, at its start and once in a while: these are no part of a transfer.
fn is_of_interest(call: &CallHead<'_>) -> bool {
    call.method != "InDoubt"
}
