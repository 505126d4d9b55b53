//! The set-up of the peer, which is on an older OpenTelemetry: providers that discard, and the parent of its spans.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use benchmarks::messages::Variant;
use opentelemetry_032::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry_032::{Context, ContextGuard, global};
use opentelemetry_sdk_032::error::OTelSdkResult;
use opentelemetry_sdk_032::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk_032::metrics::reader::MetricReader;
use opentelemetry_sdk_032::metrics::{InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality};
use opentelemetry_sdk_032::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

static ENDED: AtomicUsize = AtomicUsize::new(0);
static READER: OnceLock<Shared> = OnceLock::new();

#[derive(Clone, Debug)]
struct Shared(Arc<ManualReader>);

impl MetricReader for Shared {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

#[derive(Debug)]
struct Dropping;

impl SpanProcessor for Dropping {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, _span: SpanData) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Installs the providers that the variant has.
pub(crate) fn install(variant: Variant) {
    if variant == Variant::Nothing {
        return;
    }
    global::set_tracer_provider(SdkTracerProvider::builder().with_span_processor(Dropping).build());
    let reader = READER.get_or_init(|| Shared(Arc::new(ManualReader::builder().build()))).clone();
    global::set_meter_provider(SdkMeterProvider::builder().with_reader(reader).build());
}

/// Returns the number of recorded durations.
pub(crate) fn durations() -> usize {
    let mut collected = ResourceMetrics::default();
    let Some(reader) = READER.get() else { return 0 };
    reader.0.collect(&mut collected).expect("the reader is registered");
    let metrics = collected.scope_metrics().flat_map(|scope| scope.metrics());
    let durations = metrics.filter(|metric| metric.name() == "db.client.operation.duration");
    let counts = durations.map(|metric| match metric.data() {
        AggregatedMetrics::F64(MetricData::Histogram(durations)) => {
            durations.data_points().map(|point| point.count() as usize).sum::<usize>()
        }
        other => panic!("unexpected kind of instrument: {other:?}"),
    });
    counts.sum()
}

/// Returns the number of spans that have ended.
pub(crate) fn ended() -> usize {
    ENDED.load(Ordering::Relaxed)
}

/// Makes the caller's context current.
pub(crate) fn attach(variant: Variant) -> ContextGuard {
    if variant == Variant::Nothing {
        return Context::new().attach();
    }
    let flags = TraceFlags::default().with_sampled(variant == Variant::Sampled);
    let span = SpanContext::new(TraceId::from(7_u128), SpanId::from(7_u64), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span).attach()
}
