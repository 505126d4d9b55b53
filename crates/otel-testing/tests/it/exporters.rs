//! Exporters that misbehave as selected, for each signal.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use opentelemetry::{
    InstrumentationScope,
    logs::{LogRecord, Logger, LoggerProvider},
    trace::{Span, Tracer, TracerProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter, SdkLoggerProvider},
    metrics::{data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SdkTracerProvider, SpanExporter},
};
use otel_testing::{ExporterBehavior, Recorder, ScriptedExporter};

const TIME: Duration = Duration::from_millis(50);

fn recorder() -> Recorder {
    let recorder = Recorder::new();
    recorder.tracer_provider().tracer("test").start("span").end();
    let logger = recorder.logger_provider().logger("test");
    let mut record = logger.create_log_record();
    record.set_body("record".into());
    logger.emit(record);
    recorder
}

/// Exports one span, one log record and metrics, and returns the three results.
async fn export(exporter: &ScriptedExporter) -> [OTelSdkResult; 3] {
    let recorder = recorder();
    let (scope, records) = (InstrumentationScope::builder("test").build(), recorder.log_records());
    let spans = SpanExporter::export(exporter, recorder.spans()).await;
    let logs = LogExporter::export(exporter, LogBatch::new(&[(&records[0], &scope)])).await;
    let metrics = PushMetricExporter::export(exporter, &ResourceMetrics::default()).await;
    [spans, logs, metrics]
}

fn accepted(exporter: &ScriptedExporter) -> [usize; 3] {
    [exporter.spans().len(), exporter.log_records().len(), exporter.metric_exports()]
}

#[tokio::test]
async fn each_signal_is_accepted_or_fails() {
    let exporter = ScriptedExporter::default();
    assert!(export(&exporter).await.iter().all(Result::is_ok));
    assert_eq!((accepted(&exporter), exporter.exports(), exporter.largest_batch()), ([1; 3], 3, 1));
    exporter.set_behavior(ExporterBehavior::Fail);
    assert!(export(&exporter).await.iter().all(Result::is_err));
    assert_eq!((accepted(&exporter), exporter.exports(), exporter.accepted()), ([1; 3], 6, 2));
}

#[test]
fn a_hanging_export_does_not_complete_and_blocks_nobody() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Hang);
    let mut export = pin!(SpanExporter::export(&exporter, recorder().spans()));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(export.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!((accepted(&exporter), exporter.exports()), ([0; 3], 1));
}

#[tokio::test]
async fn a_slow_export_completes_later_and_blocks_nobody() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Slow(TIME));
    let began = Instant::now();
    let (first, second) = tokio::join!(
        SpanExporter::export(&exporter, recorder().spans()),
        SpanExporter::export(&exporter, recorder().spans())
    );
    assert!(first.is_ok() && second.is_ok() && began.elapsed() >= TIME);
    assert_eq!(exporter.exports(), 2);
    // The task that polls it last is woken, also if another one has polled it before.
    let mut export = Box::pin(SpanExporter::export(&exporter, Vec::new()));
    assert!(export.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let began = Instant::now();
    let late = Duration::from_secs(10);
    let _ = tokio::time::timeout(late, export).await;
    assert!(began.elapsed() < late, "the export was not woken");
}

#[test]
fn a_blocking_export_holds_its_thread() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Block(TIME));
    let began = Instant::now();
    let mut export = pin!(SpanExporter::export(&exporter, recorder().spans()));
    let polled = export.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))) && began.elapsed() >= TIME);
}

#[test]
#[should_panic(expected = "the scripted exporter panics")]
fn a_panicking_export_panics() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Panic);
    let mut export = pin!(SpanExporter::export(&exporter, recorder().spans()));
    let _ = export.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn the_providers_of_the_sdk_take_it() {
    let exporter = ScriptedExporter::default();
    let tracers = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    tracers.tracer("test").start("span").end();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let logger = loggers.logger("test");
    logger.emit(logger.create_log_record());
    assert_eq!(accepted(&exporter), [1, 1, 0]);
}
