//! An SDK setup that discards telemetry: spans are dropped when they end, and metrics are collected only on demand.
//! Spans are kept while a check runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
};
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

static KEEPING: AtomicBool = AtomicBool::new(false);
static KEPT: Mutex<Vec<SpanData>> = Mutex::new(Vec::new());

/// Returns `true` while a check runs, in which spans and headers are kept.
pub fn is_keeping() -> bool {
    KEEPING.load(Ordering::Relaxed)
}

/// Runs the work once and returns the spans that have ended meanwhile.
pub fn spans_of(work: impl FnOnce()) -> Vec<SpanData> {
    KEEPING.store(true, Ordering::Relaxed);
    work();
    KEEPING.store(false, Ordering::Relaxed);
    std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}

#[derive(Debug)]
struct Dropping;

impl SpanProcessor for Dropping {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, span: SpanData) {
        if is_keeping() {
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Installs the global tracer provider with the SDK's default sampler, which is parent-based.
pub fn install_traces() -> SdkTracerProvider {
    let provider = SdkTracerProvider::builder().with_span_processor(Dropping).build();
    otel_operation::set_tracer_provider(provider.clone());
    provider
}

/// Declares the sampler and the propagator, as the set-up of otel-telemetry does.
pub fn declare() {
    otel_operation::declare_parent_based_sampler();
    otel_operation::declare_final_propagator();
}

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

/// The reader of the process's metrics.
#[derive(Debug)]
pub struct Metrics(Shared);

/// A metric data point.
#[derive(Debug)]
pub struct Point {
    /// The instrument's name.
    pub name: String,
    /// The attributes as `name=value`, sorted.
    pub attributes: Vec<String>,
    /// The number of recordings of a histogram, or the value of a sum or a gauge.
    pub value: f64,
}

/// Installs the global meter provider.
pub fn install_metrics() -> Metrics {
    let metrics = Metrics::default();
    #[cfg(feature = "comparison")]
    otel_operation::declare_bound_metrics();
    let builder = SdkMeterProvider::builder().with_reader(metrics.reader()).with_view(without_sizes);
    global::set_meter_provider(builder.build());
    metrics
}

/// Drops the histograms of sizes, which are opt-in by the conventions: some peers record them by default, and ours on request.
pub fn without_sizes(instrument: &Instrument) -> Option<Stream> {
    let builder = Stream::builder().with_aggregation(Aggregation::Drop);
    instrument.name().ends_with(".size").then(|| builder.build().expect("the stream is valid"))
}

impl Default for Metrics {
    /// Creates a reader that a meter provider has to be given.
    fn default() -> Self {
        Self(Shared(Arc::new(ManualReader::builder().build())))
    }
}

impl Metrics {
    /// Returns the reader, for a meter provider.
    pub fn reader(&self) -> impl MetricReader + use<> {
        self.0.clone()
    }

    /// Collects all data points.
    pub fn points(&self) -> Vec<Point> {
        let mut collected = ResourceMetrics::default();
        self.0.collect(&mut collected).expect("the reader is registered");
        let mut points = Vec::new();
        for metric in collected.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut push = |attributes: Vec<String>, value: f64| {
                points.push(Point { name: metric.name().to_owned(), attributes, value });
            };
            match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    histogram.data_points().for_each(|p| push(texts(p.attributes()), p.count() as f64));
                }
                AggregatedMetrics::U64(MetricData::Histogram(histogram)) => {
                    histogram.data_points().for_each(|p| push(texts(p.attributes()), p.count() as f64));
                }
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    sum.data_points().for_each(|p| push(texts(p.attributes()), p.value() as f64));
                }
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().for_each(|p| push(texts(p.attributes()), p.value() as f64));
                }
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().for_each(|p| push(texts(p.attributes()), p.value() as f64));
                }
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().for_each(|p| push(texts(p.attributes()), p.value()));
                }
                other => panic!("unexpected kind of instrument: {other:?}"),
            }
        }
        points
    }
}

/// Formats attributes as `name=value`, sorted.
pub fn texts<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Vec<String> {
    let mut texts: Vec<String> =
        attributes.map(|attribute| format!("{}={}", attribute.key, attribute.value)).collect();
    texts.sort();
    texts
}

/// Converts `tracing` spans to OpenTelemetry spans. The filter is static, so that it has no cost at span creation.
#[cfg(feature = "comparison")]
pub fn subscribe(provider: &opentelemetry_sdk::trace::SdkTracerProvider) {
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter =
        Targets::new().with_default(LevelFilter::INFO).with_target("otel::tracing", LevelFilter::TRACE);
    // Without the attributes that only a bridge from `tracing` adds.
    let layer = tracing_opentelemetry::layer().with_location(false).with_threads(false).with_target(false);
    let layer = layer.with_tracked_inactivity(false).with_tracer(provider.tracer("benchmark"));
    tracing_subscriber::registry().with(filter).with(layer).init();
}

/// Does nothing: no candidate of this build uses `tracing`.
#[cfg(not(feature = "comparison"))]
pub fn subscribe(_provider: &opentelemetry_sdk::trace::SdkTracerProvider) {}
