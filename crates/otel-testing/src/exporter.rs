//! An exporter of spans, metrics and log records that accepts, fails, hangs, is slow, blocks or panics, as a test selects.
//!
//! Follows the exporters of the [Trace](https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-exporter), the
//! [Metrics](https://opentelemetry.io/docs/specs/otel/metrics/sdk/#metricexporter) and the [Logs
//! SDK](https://opentelemetry.io/docs/specs/otel/logs/sdk/#logrecordexporter).

use std::{
    future::{pending, poll_fn},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogBatch, LogExporter, SdkLogRecord},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter},
};

/// The behaviour of a [`ScriptedExporter`] during an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExporterBehavior {
    /// Accepts the data.
    #[default]
    Accept,
    /// Returns an error.
    Fail,
    /// Never completes, and blocks no thread.
    Hang,
    /// Accepts the data after this time, and blocks no thread.
    Slow(Duration),
    /// Accepts the data after it has blocked the thread for this time, as an exporter to a stalled pipe does.
    Block(Duration),
    /// Panics.
    Panic,
}

/// An exporter whose behaviour a test selects, also while exports run. It keeps what it accepts. Clones share everything.
///
/// ```
/// use opentelemetry::trace::{Span, Tracer, TracerProvider};
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use otel_testing::{ExporterBehavior, ScriptedExporter};
///
/// let exporter = ScriptedExporter::new(ExporterBehavior::Fail);
/// let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
/// provider.tracer("example").start("lost").end();
/// exporter.set_behavior(ExporterBehavior::Accept);
/// provider.tracer("example").start("kept").end();
/// assert_eq!(exporter.exports(), 2);
/// assert_eq!(exporter.spans()[0].name, "kept");
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptedExporter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    behavior: ExporterBehavior,
    exports: usize,
    largest_batch: usize,
    spans: Vec<SpanData>,
    log_records: Vec<SdkLogRecord>,
    metric_exports: usize,
}

impl ScriptedExporter {
    /// Creates an exporter that begins with this behaviour.
    #[must_use]
    pub fn new(behavior: ExporterBehavior) -> Self {
        let exporter = Self::default();
        exporter.set_behavior(behavior);
        exporter
    }

    /// Sets the behaviour of the exports that begin from now on.
    pub fn set_behavior(&self, behavior: ExporterBehavior) {
        self.lock().behavior = behavior;
    }

    /// Returns the number of exports that have begun, whatever became of them.
    #[must_use]
    pub fn exports(&self) -> usize {
        self.lock().exports
    }

    /// Returns the number of records in the largest export of spans or log records, accepted or not.
    #[must_use]
    pub fn largest_batch(&self) -> usize {
        self.lock().largest_batch
    }

    /// Returns the number of spans and log records that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        let state = self.lock();
        (state.spans.len() + state.log_records.len()) as u64
    }

    /// Returns the spans that were accepted.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanData> {
        self.lock().spans.clone()
    }

    /// Returns the log records that were accepted.
    #[must_use]
    pub fn log_records(&self) -> Vec<SdkLogRecord> {
        self.lock().log_records.clone()
    }

    /// Returns the number of exports of metrics that were accepted.
    #[must_use]
    pub fn metric_exports(&self) -> usize {
        self.lock().metric_exports
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an export, and behaves as selected before it accepts the data.
    async fn behave(&self, records: usize) -> OTelSdkResult {
        let behavior = {
            let mut state = self.lock();
            state.exports += 1;
            state.largest_batch = state.largest_batch.max(records);
            state.behavior
        };
        match behavior {
            ExporterBehavior::Accept => {}
            ExporterBehavior::Fail => {
                return Err(OTelSdkError::InternalFailure("the scripted exporter fails".to_owned()));
            }
            ExporterBehavior::Hang => pending().await,
            ExporterBehavior::Slow(time) => delay(time).await,
            ExporterBehavior::Block(time) => thread::sleep(time),
            ExporterBehavior::Panic => panic!("the scripted exporter panics"),
        }
        Ok(())
    }
}

impl SpanExporter for ScriptedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.behave(batch.len()).await?;
        self.lock().spans.extend(batch);
        Ok(())
    }
}

impl LogExporter for ScriptedExporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records: Vec<_> = batch.iter().map(|(record, _)| record.clone()).collect();
        self.behave(records.len()).await?;
        self.lock().log_records.extend(records);
        Ok(())
    }
}

impl PushMetricExporter for ScriptedExporter {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        self.behave(0).await?;
        self.lock().metric_exports += 1;
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// Completes after a time that the operating system measures, under every async runtime and without one.
async fn delay(time: Duration) {
    let end = Instant::now() + time;
    let waker = Arc::new(Mutex::new(None::<Waker>));
    let mut sleeper = None;
    poll_fn(|cx| {
        *waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if Instant::now() >= end {
            return Poll::Ready(());
        }
        sleeper.get_or_insert_with(|| {
            let waker = Arc::clone(&waker);
            thread::spawn(move || {
                thread::sleep(end.saturating_duration_since(Instant::now()));
                if let Some(waker) = waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    waker.wake();
                }
            })
        });
        Poll::Pending
    })
    .await;
}
