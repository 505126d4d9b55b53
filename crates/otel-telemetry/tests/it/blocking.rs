//! Exporters that block their thread: every deadline holds, and no other signal waits.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::logs::{LogRecord, Logger, LoggerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::InMemoryLogExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_telemetry::{BatchOptions, Signal, Telemetry};

use crate::support::{end_spans, quiet};

const DEADLINE: Duration = Duration::from_secs(3);

/// Tolerance beyond a deadline on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// Blocks its thread in `export` until the sender is dropped.
#[derive(Clone, Debug)]
struct Blocking {
    entered: mpsc::Sender<usize>,
    released: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl SpanExporter for Blocking {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let _ = self.entered.send(batch.len());
        let _ = self.released.lock().unwrap().recv();
        Ok(())
    }
}

/// Returns telemetry whose span exporter blocks with a batch of ten spans, while ten more wait.
fn blocked(logs: &InMemoryLogExporter) -> (Telemetry, mpsc::Sender<()>) {
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let exporter = Blocking { entered, released: Arc::new(Mutex::new(released)) };
    let telemetry = quiet()
        .with_span_exporter(exporter)
        .with_log_exporter(logs.clone())
        .with_span_batch(BatchOptions::for_spans().with_max_batch_size(10))
        .with_shutdown_timeout(DEADLINE)
        .build()
        .unwrap();
    end_spans(&telemetry, 10);
    assert_eq!(has_entered.recv(), Ok(10));
    end_spans(&telemetry, 10);
    (telemetry, release)
}

fn emit(telemetry: &Telemetry) {
    let logger = telemetry.logger_provider().logger("test");
    let mut record = logger.create_log_record();
    record.set_body("message".into());
    logger.emit(record);
}

#[tokio::test]
async fn a_flush_returns_at_its_deadline_with_the_other_signals_exported() {
    let logs = InMemoryLogExporter::default();
    let (telemetry, release) = blocked(&logs);
    emit(&telemetry);
    let start = Instant::now();
    let errors = telemetry.flush_within(Duration::from_millis(500)).await.unwrap_err();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(500) + SLACK, "{took:?}");
    assert_eq!(errors, [(Signal::Traces, "not finished within 500.0ms".to_owned())]);
    assert_eq!(logs.get_emitted_logs().unwrap().len(), 1);
    drop(release);
    telemetry.flush().await.unwrap();
    assert_eq!(telemetry.span_counts().accepted, 20);
}

#[tokio::test]
async fn a_shutdown_returns_at_its_deadline_and_counts_what_is_lost() {
    let logs = InMemoryLogExporter::default();
    let (telemetry, release) = blocked(&logs);
    emit(&telemetry);
    let start = Instant::now();
    let report = telemetry.shutdown().await;
    assert!(start.elapsed() < DEADLINE + SLACK, "{:?}", start.elapsed());
    let unfinished: Vec<_> = report.unfinished.iter().map(|(signal, _)| *signal).collect();
    assert_eq!(unfinished, [Signal::Traces], "{report}");
    let spans = report.spans;
    assert_eq!((spans.ended, spans.dropped.shut_down, spans.pending), (20, 20, 0), "{report}");
    assert_eq!(report.logs.accepted, 1);
    drop(release);
}

#[test]
fn a_drop_returns_at_its_deadline() {
    let (telemetry, _release) = blocked(&InMemoryLogExporter::default());
    let start = Instant::now();
    drop(telemetry);
    assert!(start.elapsed() < DEADLINE + SLACK, "{:?}", start.elapsed());
}
