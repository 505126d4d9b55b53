//! Setup of telemetry, and the drawing of traces.
//!
//! A process with a single service calls `init` instead of `build`. The demonstration runs several services in several
//! processes: each service builds its own telemetry, and all write their spans to one file.

use std::collections::HashSet;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use opentelemetry::trace::{TraceId, TracerProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use otel_grpc::{CallHead, ClientLayer, DescriptorError, LayerOptions, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_telemetry::{Exporter, Telemetry};
use otel_waterfall::{OpenSpans, Style, Trace, from_otlp_json, html, text};
use tokio::time::timeout;

use crate::file::FileExporter;
use crate::{Failure, PATIENCE};

/// The file descriptor set of all services, from which the server layer takes the names of the methods.
const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("transfer");

/// The span attributes that are drawn.
const ATTRIBUTES: [&str; 5] = ["request.*", "saga.outcome", "twopc.decision", "twopc.outcome", "twopc.vote"];

/// The telemetry of all services of a process.
pub(crate) struct Stage {
    spans: PathBuf,
    open_spans: OpenSpans,
    services: Vec<Telemetry>,
    drawn: HashSet<TraceId>,
}

/// The providers of one service.
pub(crate) struct Providers {
    pub(crate) tracer: SdkTracer,
    pub(crate) traces: SdkTracerProvider,
    pub(crate) metrics: SdkMeterProvider,
    propagator: CompositePropagator,
}

impl Stage {
    /// Creates a stage. All processes with the same folder share one file of spans.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            spans: folder.join("spans.jsonl"),
            open_spans: OpenSpans::default(),
            services: Vec::new(),
            drawn: HashSet::new(),
        }
    }

    /// Builds the telemetry of one service. Spans are written to the file, and all signals are also exported if the
    /// environment configures an OTLP endpoint. otel-telemetry's ID generator lets recovery export an interrupted span
    /// with its original ID.
    pub(crate) fn service(&mut self, name: &'static str) -> Result<Providers, Failure> {
        let (file, open_spans) = (FileExporter::open(&self.spans)?, self.open_spans.clone());
        let telemetry = Telemetry::builder()
            .with_service_name(name)
            .with_service_version(env!("CARGO_PKG_VERSION"))
            .with_exporters(Exporter::OtlpIfConfigured)
            // Not batched, because a killed process loses its batch. The exporter comes before `open_spans`, so that a
            // span has been written when it counts as closed.
            .map_tracer_provider(|traces| traces.with_simple_exporter(file).with_span_processor(open_spans))
            .build()?;
        let traces = telemetry.tracer_provider().clone();
        let metrics = telemetry.meter_provider().clone();
        let propagator = telemetry.propagator().clone();
        self.services.push(telemetry);
        Ok(Providers { tracer: traces.tracer("transfer"), traces, metrics, propagator })
    }

    /// Waits until all spans of this process have ended, and draws the new traces.
    pub(crate) async fn draw(&mut self) -> Result<(), Failure> {
        timeout(PATIENCE, self.open_spans.none()).await.map_err(|_| "a span did not end in time")?;
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
        // The file is empty when telemetry is disabled.
        if lines.is_empty() { Ok(Vec::new()) } else { Ok(from_otlp_json(&lines)?) }
    }

    pub(crate) async fn shut_down(self) {
        for telemetry in self.services {
            // Export failures are logged as warnings.
            telemetry.shutdown().await;
        }
    }
}

impl Providers {
    /// The layer that records outbound calls.
    pub(crate) fn client_layer(&self) -> ClientLayer {
        ClientLayer::new()
            .with_tracer_provider(&self.traces)
            .with_meter_provider(&self.metrics)
            .with_propagator(self.propagator.clone())
            .with_filter(is_recorded)
    }

    /// The layer that records inbound calls of the methods in `proto/`.
    pub(crate) fn server_layer(&self) -> Result<ServerLayer, DescriptorError> {
        Ok(ServerLayer::for_services(&[FILE_DESCRIPTOR_SET])?
            .with_tracer_provider(&self.traces)
            .with_meter_provider(&self.metrics)
            .with_propagator(self.propagator.clone())
            .with_filter(is_recorded))
    }
}

/// Excludes `InDoubt`, which a coordinator calls at its start and periodically, outside of any transfer.
fn is_recorded(call: &CallHead<'_>) -> bool {
    call.method != "InDoubt"
}
