//! The recorder: a tracer, a meter and a logger provider in memory, without globals, and what tests ask of them.
//!
//! Follows <https://opentelemetry.io/docs/specs/otel/trace/sdk/> and
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk/>.

mod builder;
mod logs;

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::{Arc, Weak, mpsc},
    task::Poll,
    time::{Duration, Instant},
};

use opentelemetry::trace::SpanId;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::SdkLoggerProvider,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, Temporality, data::ResourceMetrics, reader::MetricReader,
    },
    trace::SpanData,
};

use crate::{
    meter::RecordingMeterProvider,
    metrics::{self, Metric, MetricKind},
    provider::RecordingTracerProvider,
    span_log::SpanLog,
    tree,
};

pub use self::builder::RecorderBuilder;
use self::logs::LogRecords;

/// Records spans, metrics and log records in memory and answers questions about them.
///
/// A clone shares everything with its original. Nothing global is read or set, so that each test has its own.
///
/// The methods that assert or wait panic with the rendered tree, as a failed assertion does.
#[derive(Clone)]
pub struct Recorder {
    tracer_provider: RecordingTracerProvider,
    meter_provider: RecordingMeterProvider,
    logger_provider: SdkLoggerProvider,
    log_records: LogRecords,
    reader: SharedReader,
    patience: Duration,
}

impl Recorder {
    /// A recorder that samples every span.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A recorder with other options.
    #[must_use]
    pub fn builder() -> RecorderBuilder {
        RecorderBuilder::new()
    }

    /// The tracer provider to give to the instrumentation under test.
    #[must_use]
    pub fn tracer_provider(&self) -> &RecordingTracerProvider {
        &self.tracer_provider
    }

    /// The meter provider to give to the instrumentation under test. Bound instruments are recorded too.
    #[must_use]
    pub fn meter_provider(&self) -> &RecordingMeterProvider {
        &self.meter_provider
    }

    /// The spans that have finished so far, in the order of their ends.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanData> {
        self.span_log().lock().finished.clone()
    }

    /// The one finished span of this name.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[must_use]
    #[track_caller]
    pub fn span(&self, name: &str) -> SpanData {
        let mut named: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
        let found = named.len();
        match named.pop() {
            Some(span) if named.is_empty() => span,
            _ => panic!("expected one finished span {name:?}, found {found}:\n{}", self.tree()),
        }
    }

    /// The finished spans as a forest, and below it the spans that have started but not finished.
    #[must_use]
    pub fn tree(&self) -> String {
        tree::render(&self.span_log().lock())
    }

    /// Everything that was recorded so far, cumulative, as text sorted by name and attributes. Empty after a shutdown.
    #[must_use]
    pub fn metrics(&self) -> String {
        metrics::render(self.collect().values())
    }

    /// One metric by its name; it is empty if nothing was recorded under it.
    #[must_use]
    pub fn metric(&self, name: &str) -> Metric {
        self.collect().remove(name).unwrap_or_else(|| Metric::empty(name))
    }

    pub(crate) fn collect(&self) -> BTreeMap<String, Metric> {
        let mut collected = ResourceMetrics::default();
        match self.reader.0.collect(&mut collected) {
            Ok(()) => metrics::gather(&collected),
            // The reader was shut down; it has forgotten everything.
            Err(_) => BTreeMap::new(),
        }
    }

    /// The number of calls of `end` on the span with this id; being dropped does not count.
    /// `None` if no such span was started here, or if it did not record.
    #[must_use]
    pub fn ended(&self, span_id: SpanId) -> Option<usize> {
        self.span_log().lock().entry(span_id).map(|entry| entry.ends)
    }

    /// Asserts that each span that was started and records was ended explicitly, exactly once.
    ///
    /// # Panics
    /// If a span is still open, was ended by being dropped, or was ended more than once.
    #[track_caller]
    pub fn assert_each_ended_once(&self) {
        if let Err(complaint) = self.check_each_ended_once() {
            panic!("{complaint}");
        }
    }

    pub(crate) fn check_each_ended_once(&self) -> Result<(), String> {
        let wrong: Vec<String> = self
            .span_log()
            .lock()
            .started
            .iter()
            .filter_map(|entry| match (entry.ends, entry.finished) {
                (1, _) => None,
                (0, true) => Some(format!("{:?} was ended by being dropped", entry.name)),
                (0, false) => Some(format!("{:?} was not ended", entry.name)),
                (ends, _) => Some(format!("{:?} was ended {ends} times", entry.name)),
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{}:\n{}", wrong.join(", "), self.tree())) }
    }

    /// Asserts that every series of every up-down counter is back at 0. Those that are observed show a state, such as the
    /// connections of a pool, and are left out.
    ///
    /// # Panics
    /// If one is not.
    #[track_caller]
    pub fn assert_nothing_in_flight(&self) {
        if let Err(complaint) = self.check_nothing_in_flight() {
            panic!("{complaint}");
        }
    }

    pub(crate) fn check_nothing_in_flight(&self) -> Result<(), String> {
        let metrics = self.collect();
        let counted = self.meter_provider.log.recorded();
        let open = metrics
            .values()
            .filter(|metric| metric.kind() == Some(MetricKind::UpDownCounter))
            .filter(|metric| counted.contains_key(metric.name()))
            .any(|metric| metric.points().iter().any(|point| point.sum() != 0.0));
        if open {
            Err(format!("something is in flight:\n{}", metrics::render(metrics.values())))
        } else {
            Ok(())
        }
    }

    /// Asserts all that must hold when nothing is going on any more: each span was ended explicitly exactly once,
    /// all that were started have finished, no attribute is recorded on a span twice, and nothing is in flight.
    ///
    /// # Panics
    /// If one of these does not hold.
    #[track_caller]
    pub fn assert_clean(&self) {
        if let Err(complaint) = self.check_clean() {
            panic!("{complaint}");
        }
    }

    pub(crate) fn check_clean(&self) -> Result<(), String> {
        self.check_each_ended_once()?;
        let open = self.span_log().lock().started.iter().filter(|entry| !entry.finished).count();
        if open > 0 {
            return Err(format!("{open} spans were started and have not finished:\n{}", self.tree()));
        }
        self.check_each_attribute_once()?;
        self.check_nothing_in_flight()
    }

    /// The SDK appends what is set again, and OTLP allows each key once.
    fn check_each_attribute_once(&self) -> Result<(), String> {
        for span in self.spans() {
            let mut keys: Vec<&str> =
                span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("`{}` is recorded twice on the span `{}`", twice[0], span.name));
            }
        }
        Ok(())
    }

    /// Waits until `count` spans have finished (in all, since the recorder was made). Works under every async
    /// runtime, also under a paused clock, for it takes its time from the operating system.
    ///
    /// # Panics
    /// If they have not finished within the recorder's patience, 10 seconds if nothing else was set.
    pub async fn wait_for_spans(&self, count: usize) {
        let what = format!("{count} spans to finish");
        self.wait(&what, |recorder| recorder.span_log().lock().finished.len() >= count).await;
    }

    /// Waits until every span that was started has finished.
    ///
    /// # Panics
    /// If they have not finished within the recorder's patience, 10 seconds if nothing else was set.
    pub async fn wait_until_finished(&self) {
        self.wait("all spans to finish", |recorder| {
            recorder.span_log().lock().started.iter().all(|entry| entry.finished)
        })
        .await;
    }

    async fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + self.patience;
        let mut alarm = None;
        poll_fn(|cx| {
            // Registered before the look, or an end in between would be missed.
            self.span_log().lock().wake_me(cx.waker());
            if done(self) {
                return Poll::Ready(());
            }
            assert!(Instant::now() < deadline, "waited {:?} for {what}:\n{}", self.patience, self.tree());
            alarm.get_or_insert_with(|| Alarm::set(self.span_log().clone(), deadline));
            Poll::Pending
        })
        .await;
    }

    /// Shuts all providers down, as an application does when it ends. Spans and log records stay readable, metrics do
    /// not.
    pub fn shutdown(&self) {
        // A second shutdown reports an error, which changes nothing.
        let _ = self.tracer_provider.sdk.shutdown();
        let _ = self.meter_provider.sdk.shutdown();
        let _ = self.logger_provider.shutdown();
    }

    /// Returns the names of the counters and histograms that have a measurement past bound instruments. Those are faster,
    /// and `otel_operation`'s types record through them where the application has declared them.
    #[must_use]
    pub fn unbound_metrics(&self) -> Vec<String> {
        self.meter_provider.log.unbound()
    }

    /// The instruments that recorded something, by name, with their measurements; after a shutdown too.
    #[cfg(feature = "conformance")]
    pub(crate) fn measurements(&self) -> BTreeMap<String, crate::meter::Tally> {
        self.meter_provider.log.recorded()
    }

    /// The sum of all up-down counters; after a shutdown too.
    #[cfg(feature = "conformance")]
    pub(crate) fn in_flight(&self) -> f64 {
        self.meter_provider.log.in_flight()
    }

    fn span_log(&self) -> &SpanLog {
        &self.tracer_provider.span_log
    }
}

/// Nothing in a recorder is left half-done by a panic, and tests of panics catch them with a recorder at hand.
impl UnwindSafe for Recorder {}
impl RefUnwindSafe for Recorder {}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("spans", &self.span_log().lock().finished.len())
            .finish_non_exhaustive()
    }
}

/// Wakes the waiting tasks at the deadline, unless it is dropped before.
struct Alarm(#[expect(dead_code, reason = "it is held for its drop")] mpsc::Sender<()>);

impl Alarm {
    fn set(span_log: SpanLog, deadline: Instant) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let left = deadline.saturating_duration_since(Instant::now());
            if receiver.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
                span_log.wake();
            }
        });
        Self(sender)
    }
}

/// The provider takes its reader for good, so the recorder and the provider share it.
#[derive(Clone, Debug, Default)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, rm: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(rm)
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
