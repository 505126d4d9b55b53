//! The set-up of oxtel, which has an SDK of its own: spans are counted and discarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oxtel_sdk::metrics::{ExemplarFilter, MeterProvider, PointValue};
use oxtel_sdk::trace::{
    ExportError, SpanData, SpanExporter, SpanProcessor, TracerProvider, TracerProviderBuilder,
};
use oxtel_sdk::{Resource, TraceFlags};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The installed subscriber and recorder.
#[expect(missing_debug_implementations, reason = "its providers have none")]
pub struct Oxtel {
    spans: Counter,
    meter: MeterProvider,
    tracer: Option<TracerProvider>,
}

#[derive(Clone, Debug, Default)]
struct Counter(Arc<AtomicU64>);

impl SpanProcessor for Counter {
    fn on_end(&self, span: SpanData) {
        drop(span);
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn force_flush(&self) -> Result<(), ExportError> {
        Ok(())
    }

    fn shutdown(&self) -> Result<(), ExportError> {
        Ok(())
    }
}

impl SpanExporter for Counter {
    fn export(&self, batch: &[SpanData], _resource: &Resource) -> Result<(), ExportError> {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Oxtel {
    /// Installs a processor that drops spans when they end.
    pub fn dropping(has_traces: bool) -> Self {
        Self::install(has_traces, TracerProviderBuilder::with_processor)
    }

    /// Installs the batch processor with an exporter that discards.
    pub fn batching() -> Self {
        Self::install(true, TracerProviderBuilder::with_batch_exporter)
    }

    fn install(has_traces: bool, add: fn(TracerProviderBuilder, Counter) -> TracerProviderBuilder) -> Self {
        let spans = Counter::default();
        // The SDK of the others has no exemplars.
        let meter = MeterProvider::builder().with_exemplar_filter(ExemplarFilter::AlwaysOff).build();
        metrics::set_global_recorder(meter.recorder()).expect("no recorder is installed");
        let tracer = has_traces.then(|| add(TracerProvider::builder(), spans.clone()).build());
        if let Some(tracer) = &tracer {
            tracing_subscriber::registry().with(LevelFilter::INFO).with(tracer.layer()).init();
        }
        Self { spans, meter, tracer }
    }

    /// Returns the number of spans that have been exported or dropped.
    pub fn spans(&self) -> u64 {
        self.spans.0.load(Ordering::Relaxed)
    }

    /// Returns the number of recordings of a histogram.
    pub fn recordings(&self, name: &str) -> u64 {
        let families = self.meter.collect();
        let points = families.iter().filter(|family| family.name == name).flat_map(|family| &family.points);
        points
            .map(|point| match &point.value {
                PointValue::Histogram(histogram) => histogram.bucket_counts.iter().sum(),
                _ => 0,
            })
            .sum()
    }

    /// Exports all spans.
    pub fn flush(&self) {
        if let Some(tracer) = &self.tracer {
            tracer.force_flush().expect("the exporter discards");
        }
    }
}

/// Enters a span whose parent is that of a caller in another process.
pub fn enter(trace: u128, span: u64, is_sampled: bool) -> tracing::span::EnteredSpan {
    let parent = oxtel_sdk::SpanContext {
        trace_id: oxtel_sdk::TraceId::from_hex(&format!("{trace:032x}")).expect("it is valid"),
        span_id: oxtel_sdk::SpanId::from_hex(&format!("{span:016x}")).expect("it is valid"),
        flags: TraceFlags::default().with_sampled(is_sampled),
        trace_state: oxtel_sdk::TraceState::EMPTY,
        is_remote: true,
    };
    let _parent = oxtel_sdk::trace::attach_remote_parent(parent);
    tracing::info_span!("caller").entered()
}
