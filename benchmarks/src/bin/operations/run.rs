//! The operations in Rust; those in Go are `benchmarks/go`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use benchmarks::{allocations, sdk};
use opentelemetry::trace::{TraceContextExt as _, Tracer, TracerProvider as _, noop::NoopTracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};

use crate::{allocator, protocols};

const SPANS: usize = 200_000;
pub(crate) const REQUESTS: usize = 10_000;

/// The threads of the runtime, as Go has one for each core of the machine of the figures.
const THREADS: usize = 2;

static ENDED: AtomicU64 = AtomicU64::new(0);

/// Counts spans and discards them.
#[derive(Debug)]
struct Ended;

impl SpanProcessor for Ended {
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

/// Measures all operations and prints their figures.
pub(crate) fn cell(arguments: &[&str]) -> Option<()> {
    if *arguments != ["all"] {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    // On a worker thread, as the main function of Go: from another thread each spawn would wake a worker.
    runtime.expect("it starts").block_on(async { tokio::spawn(all()).await }).expect("it does not panic");
    Some(())
}

async fn all() {
    let noop = NoopTracer::new();
    measure("no-op-span", SPANS, 0, (), async |()| {
        let root = Context::new();
        root.with_span(noop.start_with_context("operation", &root)).span().end();
    })
    .await;
    protocols::http("untraced", 0).await;
    protocols::grpc("untraced", 0).await;

    let provider = SdkTracerProvider::builder().with_span_processor(Ended).build();
    otel_operation::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(opentelemetry_sdk::propagation::TraceContextPropagator::new());
    otel_propagation::set_global(
        otel_propagation::CompositePropagator::empty()
            .with_trace_context(otel_propagation::TraceContextPropagator::new()),
    );
    let _metrics = sdk::install_metrics();
    spans(provider.tracer("operations")).await;
    protocols::http("traced", 2).await;
    protocols::grpc("traced", 2).await;
}

async fn spans(tracer: SdkTracer) {
    let root = Context::new();
    // A span is in a context, as it is in Go.
    measure("sdk-span", SPANS, 1, (), async |()| {
        root.with_span(tracer.start_with_context("operation", &root)).span().end();
    })
    .await;
    const NAMES: [&str; 10] = [
        "attribute.0",
        "attribute.1",
        "attribute.2",
        "attribute.3",
        "attribute.4",
        "attribute.5",
        "attribute.6",
        "attribute.7",
        "attribute.8",
        "attribute.9",
    ];
    measure("sdk-span-10", SPANS, 1, (), async |()| {
        let attributes = NAMES.map(|name| KeyValue::new(name, "value"));
        let builder = tracer.span_builder("operation").with_attributes(attributes);
        root.with_span(tracer.build_with_context(builder, &root)).span().end();
    })
    .await;
    measure("sdk-nested-5", SPANS / 5, 5, (), async |()| nested(&tracer, &root, 5)).await;
    measure("sdk-tasks-8", SPANS / 10, 8, (), async |()| {
        let tasks: [_; 8] = std::array::from_fn(|_| {
            let tracer = tracer.clone();
            tokio::spawn(async move {
                let root = Context::new();
                root.with_span(tracer.start_with_context("operation", &root)).span().end();
            })
        });
        for task in tasks {
            task.await.expect("it does not panic");
        }
    })
    .await;
}

fn nested(tracer: &SdkTracer, parent: &Context, depth: usize) {
    let span = tracer.start_with_context("operation", parent);
    let context = parent.with_span(span);
    if depth > 1 {
        nested(tracer, &context, depth - 1);
    }
    context.span().end();
}

/// Runs the operation, which passes the state on, without and with a clock around each, and checks the number of its spans.
pub(crate) async fn measure<T, F: Future<Output = T>>(
    name: &str,
    iterations: usize,
    spans: u64,
    mut state: T,
    mut operation: impl FnMut(T) -> F,
) {
    for _ in 0..iterations / 10 {
        state = operation(state).await;
    }
    settle().await;
    let (ended, count, bytes) = (ENDED.load(Ordering::Relaxed), allocations::count(), allocator::bytes());
    let started = Instant::now();
    for _ in 0..iterations {
        state = operation(state).await;
    }
    let elapsed = started.elapsed();
    let (count, bytes) = (allocations::count() - count, allocator::bytes() - bytes);
    settle().await;
    assert_eq!(ENDED.load(Ordering::Relaxed) - ended, spans * iterations as u64, "{name}");
    let mut times = Vec::with_capacity(iterations);
    for _ in 0..iterations {
        let started = Instant::now();
        state = operation(state).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let each = iterations as f64;
    println!("{name}.per_second {}", each / elapsed.as_secs_f64());
    println!("{name}.p50 {}", times[(iterations - 1) / 2].as_nanos());
    println!("{name}.p99 {}", times[(iterations - 1) * 99 / 100].as_nanos());
    println!("{name}.allocations {}", count as f64 / each);
    println!("{name}.bytes {}", bytes as f64 / each);
}

/// Waits until no further span of a server ends: a server's span can end after its client has the response.
async fn settle() {
    let mut last = u64::MAX;
    while std::mem::replace(&mut last, ENDED.load(Ordering::Relaxed)) != last {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
