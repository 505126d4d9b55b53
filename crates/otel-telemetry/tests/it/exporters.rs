//! Exporters of the application that panic, hang or keep a buffer, in each of their methods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_telemetry::{BatchOptions, Exporter, OtlpOptions, Signal};
use otel_testing::{ExporterBehavior, ScriptedExporter};

use crate::support::{end_spans, quiet};

/// Panics in `export` before it returns a future, which an `async fn` cannot do, as long as `panics` is not zero.
#[derive(Debug)]
struct PanicsEarly {
    panics: AtomicUsize,
}

impl SpanExporter for PanicsEarly {
    fn export(&self, _batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let left = self.panics.load(Ordering::SeqCst);
        self.panics.store(left.saturating_sub(1), Ordering::SeqCst);
        assert_eq!(left, 0, "broken");
        std::future::ready(Ok(()))
    }
}

#[tokio::test]
async fn a_panic_before_the_future_of_the_export_is_a_failed_export() {
    let telemetry = quiet().with_span_exporter(PanicsEarly { panics: 1.into() }).build().unwrap();
    end_spans(&telemetry, 3);
    let errors = telemetry.flush().await.unwrap_err();
    assert_eq!(errors[0].0, Signal::Traces, "{errors:?}");
    assert!(errors[0].1.contains("the exporter panicked"), "{errors:?}");
    end_spans(&telemetry, 2);
    let report = telemetry.shutdown().await;
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.spans.accepted, report.spans.dropped.failed), (2, 3), "{report}");
}

/// Panics in `shutdown`.
#[derive(Debug)]
struct PanicsAtShutdown;

impl SpanExporter for PanicsAtShutdown {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        panic!("broken")
    }
}

#[tokio::test]
async fn a_panic_of_the_exporters_shutdown_is_reported() {
    let telemetry = quiet().with_span_exporter(PanicsAtShutdown).build().unwrap();
    end_spans(&telemetry, 3);
    let report = telemetry.shutdown().await;
    assert_eq!(report.spans.accepted, 3, "{report}");
    let unfinished: Vec<_> = report.unfinished.iter().map(|(signal, _)| *signal).collect();
    assert_eq!(unfinished, [Signal::Traces], "{report}");
    assert!(report.to_string().contains("the exporter panicked"), "{report}");
}

/// Keeps the spans in a buffer until `force_flush`.
#[derive(Clone, Debug, Default)]
struct Buffering {
    buffered: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl SpanExporter for Buffering {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.buffered.fetch_add(batch.len(), Ordering::SeqCst);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.written.fetch_add(self.buffered.swap(0, Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_flush_flushes_the_exporter() {
    let exporter = Buffering::default();
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    end_spans(&telemetry, 3);
    telemetry.flush().await.unwrap();
    assert_eq!(exporter.written.load(Ordering::SeqCst), 3);
    drop(telemetry);
}

/// The runtime of the control thread has 512 threads for calls that block.
#[tokio::test]
async fn flushes_that_exceed_their_deadline_do_not_keep_the_shutdown_from_its_thread() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Hang);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    end_spans(&telemetry, 3);
    for _ in 0..600 {
        telemetry.flush_within(Duration::from_millis(1)).await.unwrap_err();
    }
    let report = telemetry.shutdown_within(Duration::from_secs(3)).await;
    let unfinished: Vec<_> = report.unfinished.iter().map(|(signal, _)| *signal).collect();
    assert_eq!(unfinished, [Signal::Traces], "only the exporter that hangs: {report}");
}

/// An export that runs when the shutdown begins is part of what the report is about.
#[tokio::test]
async fn a_shutdown_reports_the_failure_of_the_export_that_it_has_found_running() {
    // Often, because the two threads meet in either order.
    for with_flush in [false, true].repeat(10) {
        let telemetry = quiet()
            .with_exporter(Signal::Traces, Exporter::Otlp)
            .with_otlp(OtlpOptions::default().with_endpoint("http://127.0.0.1:1"))
            .with_span_batch(BatchOptions::for_spans().with_max_batch_size(3))
            .build()
            .unwrap();
        end_spans(&telemetry, 3);
        if with_flush {
            telemetry.flush_within(Duration::from_millis(20)).await.unwrap_err();
        }
        while telemetry.health().ready().await.details.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let report = telemetry.shutdown().await;
        assert_eq!(report.spans.dropped.failed, 3, "{report}");
        assert_eq!(report.unfinished.len(), 1, "{report}");
        assert!(report.unfinished[0].1.contains("Connection refused"), "{report}");
    }
}
