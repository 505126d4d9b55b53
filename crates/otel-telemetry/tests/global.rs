//! The globals that `init` installs; in its own process, because it sets them.

use std::process::Command;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span as _, Tracer};
use opentelemetry::{Context, global};
use opentelemetry_sdk::logs::InMemoryLogExporter;
use opentelemetry_sdk::trace::InMemorySpanExporter;
use otel_telemetry::{Exporter, SetupError, Telemetry, TelemetryBuilder};

const DRAIN_DELAY: Duration = Duration::from_millis(200);

fn builder() -> TelemetryBuilder {
    Telemetry::builder().with_env([("OTEL_PROPAGATORS", "b3,tracecontext")]).with_exporters(Exporter::None)
}

/// One test, because its parts share the globals: a failing set-up leaves them alone, the next one installs them, a
/// further one is an error, and a signal reaches the shutdown future.
#[tokio::test]
async fn once_a_process() {
    let failed = builder().with_env([("OTEL_TRACES_EXPORTER", "zipkin")]).strict_env().init();
    assert!(matches!(failed, Err(SetupError::Environment(_))));
    assert!(!global::tracer("test").start("span").span_context().is_valid());

    let exporter = InMemorySpanExporter::default();
    let telemetry = builder()
        .with_span_exporter(exporter.clone())
        .with_tracing_spans()
        .with_random_trace_flag()
        .with_drain_delay(DRAIN_DELAY)
        .init()
        .unwrap();
    global::tracer("test").start("by the global provider").end();
    tracing::info_span!("by the global subscriber").in_scope(|| {});
    let mut headers = std::collections::HashMap::<String, String>::new();
    {
        let span = global::tracer("test").start("span");
        let cx = opentelemetry::trace::TraceContextExt::with_span(&Context::new(), span);
        global::get_text_map_propagator(|propagator| propagator.inject_context(&cx, &mut headers));
    }
    assert!(headers.contains_key("b3"), "{headers:?}");
    assert!(headers["traceparent"].ends_with("-03"), "sampled and random: {headers:?}");

    assert!(matches!(builder().init(), Err(SetupError::AlreadyInitialised)));
    let beside = builder().build().unwrap();
    drop(beside);

    let signal = telemetry.shutdown_on_signal();
    let health = telemetry.health();
    assert!(health.ready().await.is_serving());
    let pid = std::process::id().to_string();
    let began = Instant::now();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
    tokio::time::timeout(Duration::from_secs(20), signal.clone()).await.unwrap();
    signal.await;
    assert!(began.elapsed() >= DRAIN_DELAY);
    assert!(!health.ready().await.is_serving());

    let report = telemetry.shutdown().await;
    assert!(report.is_complete(), "{report}");
    let spans = report.spans;
    assert_eq!((spans.ended, spans.accepted), (3, 3));

    // After a shutdown, the next set-up takes the globals over, also those behind the subscriber.
    let (spans, logs) = (InMemorySpanExporter::default(), InMemoryLogExporter::default());
    let telemetry = builder()
        .with_span_exporter(spans.clone())
        .with_log_exporter(logs.clone())
        .with_log_filter("off,global=warn")
        .with_tracing_spans()
        .init()
        .unwrap();
    assert!(matches!(builder().init(), Err(SetupError::AlreadyInitialised)));
    global::tracer("test").start("second, by the global provider").end();
    tracing::warn_span!("second, by the global subscriber").in_scope(|| {
        tracing::warn!("second");
        tracing::info!("filtered");
    });
    telemetry.flush().await.unwrap();
    let mut names: Vec<_> = spans.get_finished_spans().unwrap().into_iter().map(|span| span.name).collect();
    names.sort();
    assert_eq!(names, ["second, by the global provider", "second, by the global subscriber"]);
    let logs = logs.get_emitted_logs().unwrap();
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert!(logs[0].record.trace_context().is_some());
    drop(telemetry);
    builder().init().unwrap().shutdown().await;
}
