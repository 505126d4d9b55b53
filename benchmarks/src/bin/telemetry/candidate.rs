//! The measured set-ups. Both batch processors have the specification's limits and an exporter that discards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use benchmarks::{named, sdk};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
};
use otel_telemetry::{BatchOptions, Exporter, Telemetry};

/// The capacity of both queues.
pub(crate) const QUEUE: usize = 2048;

/// The size of both batches.
pub(crate) const BATCH: usize = 512;

named! {
    /// The processor of ended spans.
    pub(crate) Candidate {
        /// Drops each span: the cost of an ended span without a queue.
        Drop = "drop",
        /// The SDK's batch processor.
        Sdk = "sdk",
        /// The batch processor of otel-telemetry, as its set-up installs it.
        Ours = "ours",
    }
}

/// A running set-up.
pub(crate) struct Running {
    provider: Provider,
    exported: Arc<AtomicU64>,
}

enum Provider {
    Sdk(SdkTracerProvider),
    Ours(Telemetry),
}

impl Candidate {
    pub(crate) fn start(self) -> Running {
        let exported = Arc::default();
        let exporter = Discard(Arc::clone(&exported));
        let provider = match self {
            Self::Drop => Provider::Sdk(sdk::install_traces()),
            Self::Sdk => {
                let config = BatchConfigBuilder::default();
                let config = config.with_max_queue_size(QUEUE).with_max_export_batch_size(BATCH).build();
                let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
                Provider::Sdk(SdkTracerProvider::builder().with_span_processor(processor).build())
            }
            Self::Ours => {
                let options = BatchOptions::for_spans().with_max_queue_size(QUEUE).with_max_batch_size(BATCH);
                let telemetry = Telemetry::builder()
                    .with_env([] as [(String, String); 0])
                    .with_exporters(Exporter::None)
                    .with_span_exporter(exporter)
                    .with_span_batch(options)
                    .build();
                Provider::Ours(telemetry.expect("the options are valid"))
            }
        };
        Running { provider, exported }
    }
}

impl Running {
    pub(crate) fn tracer(&self) -> SdkTracer {
        match &self.provider {
            Provider::Sdk(provider) => provider.tracer("benchmark"),
            Provider::Ours(telemetry) => telemetry.tracer_provider().tracer("benchmark"),
        }
    }

    /// Exports the spans that are left, and returns the number of all that were exported.
    pub(crate) fn stop(self) -> u64 {
        match self.provider {
            Provider::Sdk(provider) => provider.shutdown().expect("the exporter never fails"),
            Provider::Ours(telemetry) => {
                let report = telemetry.shutdown_blocking(std::time::Duration::from_secs(30));
                assert!(report.is_complete(), "{report}");
                assert_eq!(report.spans.accepted, self.exported.load(Ordering::Relaxed));
            }
        }
        self.exported.load(Ordering::Relaxed)
    }
}

/// Counts spans and discards them.
#[derive(Debug)]
struct Discard(Arc<AtomicU64>);

impl SpanExporter for Discard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
