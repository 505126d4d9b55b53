//! The running telemetry of an application: providers, counts, health, flush and shutdown.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join_all;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use otel_propagation::CompositePropagator;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::batch::{Counts, OwnedLog, Queue};
use crate::builder::TelemetryBuilder;
use crate::env::EnvProblem;
use crate::health::Health;
use crate::metrics::MetricsState;
use crate::shutdown::{self, ShutdownReport};
use crate::signal::ShutdownSignal;
use crate::steps::ShutdownSteps;
use crate::{config::Signal, logs};

/// Deadline of [`Telemetry::flush`].
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum of all deadlines, so that adding one to the clock cannot overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(86_400);

/// The telemetry of an application. Keep it until the end of `main`, and end it with [`shutdown`](Self::shutdown).
///
/// Dropping it also shuts it down, and blocks the dropping thread for at most the configured deadline.
#[derive(Debug)]
#[must_use = "dropping it shuts the telemetry down"]
pub struct Telemetry {
    /// `None` after the shutdown has taken it.
    running: Option<Arc<Running>>,
}

/// The components that the shutdown needs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) tracer_provider: SdkTracerProvider,
    pub(crate) meter_provider: SdkMeterProvider,
    pub(crate) logger_provider: SdkLoggerProvider,
    pub(crate) spans: Option<Queue<SpanData>>,
    pub(crate) logs: Option<Queue<OwnedLog>>,
    pub(crate) metrics: Arc<MetricsState>,
    pub(crate) health: Health,
    pub(crate) propagator: CompositePropagator,
    pub(crate) options: Options,
    pub(crate) problems: Vec<EnvProblem>,
    /// The configuration as text, without secrets.
    pub(crate) description: String,
    /// True if [`init`](TelemetryBuilder::init) has installed the components globally.
    pub(crate) installed: AtomicBool,
    /// The runtime of the control thread.
    pub(crate) control: Handle,
    /// By signal, held by the flush that runs.
    pub(crate) flush_turns: [Arc<Mutex<()>>; 3],
}

/// The builder's options for the shutdown.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) shutdown_timeout: Duration,
    pub(crate) drain_delay: Duration,
    pub(crate) disabled: bool,
    /// True if the sampler drops every span under an unsampled parent.
    pub(crate) follows_unsampled_parents: bool,
}

impl Telemetry {
    /// Returns a builder; [`init`](TelemetryBuilder::init) or [`build`](TelemetryBuilder::build) sets the telemetry
    /// up.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::default()
    }

    pub(crate) fn new(running: Running) -> Self {
        Self { running: Some(Arc::new(running)) }
    }

    #[expect(clippy::expect_used, reason = "`running` is taken only by methods that consume `self`")]
    pub(crate) fn running(&self) -> &Arc<Running> {
        self.running.as_ref().expect("taken only at the end")
    }

    /// Returns the tracer provider.
    #[must_use]
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.running().tracer_provider
    }

    /// Returns the meter provider.
    #[must_use]
    pub fn meter_provider(&self) -> &SdkMeterProvider {
        &self.running().meter_provider
    }

    /// Returns the logger provider.
    #[must_use]
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.running().logger_provider
    }

    /// Returns the propagator, after the override from the environment. [`init`](TelemetryBuilder::init) installs it;
    /// after [`build`](TelemetryBuilder::build), pass it to layers or to `otel_propagation::set_global`.
    #[must_use]
    pub fn propagator(&self) -> &CompositePropagator {
        &self.running().propagator
    }

    /// Returns a layer for a `tracing` subscriber of the application: events become log records with the ids of the
    /// current span. [`init`](TelemetryBuilder::init) installs such a layer.
    pub fn log_layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        logs::log_layer(self.logger_provider())
    }

    /// Returns a layer for a `tracing` subscriber of the application: `tracing` spans become OpenTelemetry spans.
    /// With [`with_tracing_spans`](TelemetryBuilder::with_tracing_spans), [`init`](TelemetryBuilder::init) installs
    /// such a layer.
    pub fn span_layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        logs::span_layer(self.tracer_provider())
    }

    /// Returns the counts of the spans so far; all zero if spans are not exported.
    #[must_use]
    pub fn span_counts(&self) -> Counts {
        let spans = self.running().spans.as_ref();
        spans.map(Queue::counts).unwrap_or_default()
    }

    /// Returns the counts of the log records so far; all zero if log records are not exported.
    #[must_use]
    pub fn log_counts(&self) -> Counts {
        let logs = self.running().logs.as_ref();
        logs.map(Queue::counts).unwrap_or_default()
    }

    /// Returns the environment variables that were ignored, because their values are invalid or because this crate does not support
    /// them.
    #[must_use]
    pub fn env_problems(&self) -> &[EnvProblem] {
        &self.running().problems
    }

    /// Returns the configuration in effect as one line of text: destinations, protocols, limits, sampler, propagators. It
    /// has no secrets: header values and credentials in URLs are left out. The set-up logs the same line at INFO.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.running().description
    }

    /// Returns the health of the application, for checks and endpoints.
    #[must_use]
    pub fn health(&self) -> Health {
        self.running().health.clone()
    }

    /// Starts to listen for SIGTERM and Ctrl-C. When one arrives, the health becomes not ready, and the future
    /// resolves after the [drain delay](TelemetryBuilder::with_drain_delay). A second SIGTERM or Ctrl-C ends the process
    /// immediately, also while it shuts down.
    ///
    /// This replaces the system's default handling for the rest of the process, so that the code that awaits the
    /// future must end the process.
    pub fn shutdown_on_signal(&self) -> ShutdownSignal {
        let running = self.running();
        ShutdownSignal::listen(&running.control, self.health(), running.options.drain_delay.min(LONGEST))
    }

    /// Exports all pending data of all signals without a shutdown, within 30 seconds; see
    /// [`flush_within`](Self::flush_within).
    ///
    /// # Errors
    ///
    /// Returns the errors by signal.
    pub async fn flush(&self) -> Result<(), Vec<(Signal, String)>> {
        self.flush_within(FLUSH_TIMEOUT).await
    }

    /// Exports all pending data of all signals without a shutdown. It returns when all of it is exported or the deadline
    /// has passed, whichever is first, and never blocks the caller's runtime. Data that is not exported by then stays in
    /// its queue.
    ///
    /// # Errors
    ///
    /// Returns the errors by signal.
    pub async fn flush_within(&self, deadline: Duration) -> Result<(), Vec<(Signal, String)>> {
        let running = Arc::clone(self.running());
        let flushing = self.running().control.spawn(flush(running, deadline.min(LONGEST)));
        let failed = flushing.await.unwrap_or_else(|error| vec![(Signal::Traces, error.to_string())]);
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    /// Shuts down within the configured deadline; see [`shutdown_within`](Self::shutdown_within).
    pub async fn shutdown(self) -> ShutdownReport {
        let deadline = self.running().options.shutdown_timeout;
        self.shutdown_within(deadline).await
    }

    /// Shuts down in order: the health becomes not ready, spans are refused, then metrics, traces and logs are
    /// drained and closed. It returns when all steps are done or the deadline has passed, whichever is first.
    ///
    /// The work runs on another thread, so that it blocks no runtime and continues if the future is dropped.
    pub async fn shutdown_within(mut self, deadline: Duration) -> ShutdownReport {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.start_shutdown(deadline, move |report| {
            let _ = sender.send(report);
        });
        match receiver.await {
            Ok(report) => report,
            Err(_) => shutdown::lost_report(deadline),
        }
    }

    /// Returns the steps of the application's shutdown, of which the telemetry is the last one:
    ///
    /// ```
    /// # async fn example(telemetry: otel_telemetry::Telemetry, server: tokio::task::JoinHandle<std::io::Result<()>>) {
    /// let report = telemetry
    ///     .shutdown_steps()
    ///     .with_server("http", async { server.await.unwrap_or_else(|error| Err(error.into())) })
    ///     .with_pool("postgres", async { Ok::<_, std::io::Error>(()) }) // after `pool.close().await`
    ///     .run()
    ///     .await;
    /// # let _ = report;
    /// # }
    /// ```
    pub fn shutdown_steps(self) -> ShutdownSteps {
        ShutdownSteps::new(self)
    }

    /// Like [`shutdown_within`](Self::shutdown_within), for a `main` without a runtime: blocks the calling thread.
    pub fn shutdown_blocking(mut self, deadline: Duration) -> ShutdownReport {
        self.block_on_shutdown(deadline).unwrap_or_else(|| shutdown::lost_report(deadline))
    }

    fn block_on_shutdown(&mut self, deadline: Duration) -> Option<ShutdownReport> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.start_shutdown(deadline, move |report| {
            let _ = sender.try_send(report);
        });
        receiver.recv_timeout(deadline).ok()
    }

    fn start_shutdown(&mut self, deadline: Duration, done: impl FnOnce(ShutdownReport) + Send + 'static) {
        if let Some(running) = self.running.take() {
            let handle = running.control.clone();
            let deadline = deadline.min(LONGEST);
            handle.spawn(shutdown::run(running, deadline, done));
        }
    }
}

/// Flushes the signals concurrently, and returns the errors. The SDK's flush blocks.
async fn flush(running: Arc<Running>, deadline: Duration) -> Vec<(Signal, String)> {
    let until = tokio::time::Instant::now() + deadline;
    let flushing = Signal::ALL.map(|signal| {
        let running = &running;
        async move {
            let flushing = tokio::time::timeout_at(until, running.flush_in_turn(signal));
            let error = match flushing.await {
                Ok(Ok(Ok(()))) => return None,
                Ok(Ok(Err(error))) => running.explain(signal, &error),
                Ok(Err(panic)) => panic.to_string(),
                Err(_elapsed) => running.unfinished(signal, deadline),
            };
            Some((signal, error))
        }
    });
    join_all(flushing).await.into_iter().flatten().collect()
}

impl Running {
    /// Describes a failed step: by the failure of the export, else by the error that the SDK returned.
    pub(crate) fn explain(&self, signal: Signal, error: &OTelSdkError) -> String {
        self.health.export_failure(signal).unwrap_or_else(|| error.to_string())
    }

    /// Describes a step that has exceeded its time.
    pub(crate) fn unfinished(&self, signal: Signal, time: Duration) -> String {
        let mut text = format!("not finished within {time:.1?}");
        if let Some(failure) = self.health.export_failure(signal) {
            text = format!("{text}; {failure}");
        }
        text
    }

    /// Flushes a signal after the earlier flushes of it. One that exceeds its deadline continues to block its thread, and
    /// the shutdown needs a thread too, of which the runtime has a limited number.
    async fn flush_in_turn(self: &Arc<Self>, signal: Signal) -> Result<OTelSdkResult, JoinError> {
        let turn = Arc::clone(&self.flush_turns[signal as usize]).lock_owned().await;
        let running = Arc::clone(self);
        let flushing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            running.flush(signal)
        });
        flushing.await
    }

    fn flush(&self, signal: Signal) -> OTelSdkResult {
        match signal {
            Signal::Traces => self.tracer_provider.force_flush(),
            Signal::Metrics if self.options.disabled => Ok(()),
            Signal::Metrics => self.meter_provider.force_flush(),
            Signal::Logs => self.logger_provider.force_flush(),
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let Some(running) = &self.running else { return };
        let deadline = running.options.shutdown_timeout;
        // The shutdown logs the report; a drop cannot return it.
        let _ = self.block_on_shutdown(deadline);
    }
}
