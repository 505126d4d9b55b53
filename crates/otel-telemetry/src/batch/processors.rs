//! Adapters: the SDK's processor traits over a [`Queue`], and [`Deliver`] over the SDK's exporter traits.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use super::{Command, Deliver, DynDeliver, Queue};

/// Timeout of a synchronous `force_flush`, whose interface has no timeout.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts ended spans into a queue.
#[derive(Debug)]
pub(crate) struct BatchSpans(pub(crate) Queue<SpanData>);

impl SpanProcessor for BatchSpans {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.command_blocking(Command::Flush, FLUSH_TIMEOUT)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        close(&self.0, timeout)
    }
}

/// A log record in the queue; boxed, because it is several hundred bytes long.
pub(crate) type OwnedLog = Box<(SdkLogRecord, InstrumentationScope)>;

/// Puts log records into a queue.
#[derive(Debug)]
pub(crate) struct BatchLogs(pub(crate) Queue<OwnedLog>);

impl LogProcessor for BatchLogs {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if is_sdk_detail(record) {
            return;
        }
        self.0.push(Box::new((record.clone(), scope.clone())));
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.command_blocking(Command::Flush, FLUSH_TIMEOUT)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        close(&self.0, timeout)
    }
}

/// Returns true for events below WARN of OpenTelemetry's own crates, which would be exported with each set-up and
/// shutdown.
fn is_sdk_detail(record: &SdkLogRecord) -> bool {
    const CRATES: [&str; 4] =
        ["opentelemetry", "opentelemetry_sdk", "opentelemetry-http", "opentelemetry-appender-tracing"];
    record.target().is_some_and(|target| CRATES.contains(&&**target))
        && record.severity_number().is_none_or(|severity| severity < Severity::Warn)
}

/// Drains a queue within a timeout; then cancels and counts the rest.
fn close<T: Send + 'static>(queue: &Queue<T>, timeout: Duration) -> OTelSdkResult {
    let result = queue.command_blocking(Command::Close, timeout);
    if matches!(result, Err(opentelemetry_sdk::error::OTelSdkError::Timeout(_))) {
        queue.cancel();
    }
    result
}

/// A span exporter for [`run`](super::run).
struct Spans<E>(E);

impl<E: SpanExporter + 'static> Deliver<SpanData> for Spans<E> {
    fn deliver(&self, batch: Vec<SpanData>) -> Pin<Box<dyn Future<Output = OTelSdkResult> + Send + '_>> {
        Box::pin(self.0.export(batch))
    }

    fn flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shut_down(&self) {
        // An error here only means that the exporter was shut down before.
        let _ = self.0.shutdown();
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// A log exporter for [`run`](super::run).
struct Logs<E>(E);

impl<E: LogExporter + 'static> Deliver<OwnedLog> for Logs<E> {
    fn deliver(&self, batch: Vec<OwnedLog>) -> Pin<Box<dyn Future<Output = OTelSdkResult> + Send + '_>> {
        Box::pin(async move {
            let borrowed: Vec<_> = batch.iter().map(|log| (&log.0, &log.1)).collect();
            self.0.export(LogBatch::new(&borrowed)).await
        })
    }

    fn flush(&self) -> OTelSdkResult {
        // The SDK's exporters of log records have no flush.
        Ok(())
    }

    fn shut_down(&self) {
        let _ = self.0.shutdown();
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Wraps a span exporter for [`run`](super::run).
pub(crate) fn deliver_spans(exporter: impl SpanExporter + 'static) -> DynDeliver<SpanData> {
    Box::new(Spans(exporter))
}

/// Wraps a log exporter for [`run`](super::run).
pub(crate) fn deliver_logs(exporter: impl LogExporter + 'static) -> DynDeliver<OwnedLog> {
    Box::new(Logs(exporter))
}

impl<T> fmt::Debug for dyn Deliver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deliver(..)")
    }
}
