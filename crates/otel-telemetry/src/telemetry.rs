//! The telemetry of a running application: its providers, its accounts, its health, and its end.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use otel_propagation::CompositePropagator;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::batch::{Counts, OwnedLog, Queue};
use crate::builder::TelemetryBuilder;
use crate::env::EnvProblem;
use crate::health::Health;
use crate::metrics::MetricsState;
use crate::runtime::ExportRuntime;
use crate::shutdown::{self, ShutdownReport};
use crate::signal::ShutdownSignal;
use crate::{config::Signal, logs};

/// No deadline is longer than this, so that adding it to the clock cannot overflow.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The telemetry of an application. Keep it until the end of `main`, and end it with [`shutdown`](Self::shutdown).
///
/// Dropping it shuts it down too, and waits for that on the thread that drops it, at most for the configured deadline.
#[derive(Debug)]
#[must_use = "dropping it shuts the telemetry down"]
pub struct Telemetry {
    /// `None` once the shutdown has taken it.
    parts: Option<Arc<Parts>>,
}

/// All that the shutdown needs.
#[derive(Debug)]
pub(crate) struct Parts {
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
    // Last, so that the thread outlives what exports on it.
    pub(crate) runtime: ExportRuntime,
}

/// What the builder decided about the end.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) shutdown_timeout: Duration,
    pub(crate) drain_delay: Duration,
    pub(crate) disabled: bool,
}

impl Telemetry {
    /// Describes the telemetry; [`init`](TelemetryBuilder::init) or [`build`](TelemetryBuilder::build) sets it up.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::default()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts: Some(Arc::new(parts)) }
    }

    #[expect(clippy::expect_used, reason = "`parts` is taken only by methods that consume `self`")]
    pub(crate) fn parts(&self) -> &Arc<Parts> {
        self.parts.as_ref().expect("taken only at the end")
    }

    /// The provider of tracers.
    #[must_use]
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.parts().tracer_provider
    }

    /// The provider of meters.
    #[must_use]
    pub fn meter_provider(&self) -> &SdkMeterProvider {
        &self.parts().meter_provider
    }

    /// The provider of loggers.
    #[must_use]
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.parts().logger_provider
    }

    /// The propagator, once the environment has been asked. [`init`](TelemetryBuilder::init) installs it; after
    /// [`build`](TelemetryBuilder::build) it is for layers, or for `otel_propagation::set_global`.
    #[must_use]
    pub fn propagator(&self) -> &CompositePropagator {
        &self.parts().propagator
    }

    /// A layer for a `tracing` subscriber of your own: events become log records with the ids of the current span.
    /// [`init`](TelemetryBuilder::init) installs one by itself.
    pub fn log_layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        logs::log_layer(self.logger_provider())
    }

    /// A layer for a `tracing` subscriber of your own: `tracing` spans become OpenTelemetry spans.
    /// [`with_tracing_spans`](TelemetryBuilder::with_tracing_spans) has [`init`](TelemetryBuilder::init) install one.
    pub fn span_layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        logs::span_layer(self.tracer_provider())
    }

    /// What became of the spans so far; all zero where they are not exported.
    #[must_use]
    pub fn span_counts(&self) -> Counts {
        let spans = self.parts().spans.as_ref();
        spans.map(Queue::counts).unwrap_or_default()
    }

    /// What became of the log records so far; all zero where they are not exported.
    #[must_use]
    pub fn log_counts(&self) -> Counts {
        let logs = self.parts().logs.as_ref();
        logs.map(Queue::counts).unwrap_or_default()
    }

    /// The variables of the environment that were not understood and were ignored.
    #[must_use]
    pub fn env_problems(&self) -> &[EnvProblem] {
        &self.parts().problems
    }

    /// The health of the application, for checks and endpoints.
    #[must_use]
    pub fn health(&self) -> Health {
        self.parts().health.clone()
    }

    /// Listens to SIGTERM and Ctrl-C from now on. When one comes, the health is not ready any more, and after the
    /// [drain delay](TelemetryBuilder::with_drain_delay) the future resolves.
    ///
    /// It replaces the system's default handling for the rest of the process: what awaits the future must then end it.
    pub fn shutdown_on_signal(&self) -> ShutdownSignal {
        let parts = self.parts();
        ShutdownSignal::listen(parts.runtime.handle(), self.health(), parts.options.drain_delay.min(LONGEST))
    }

    /// Exports what waits, of all signals, without shutting anything down. It never blocks the runtime of the caller.
    ///
    /// # Errors
    ///
    /// By signal, what its provider says.
    pub async fn flush(&self) -> Result<(), Vec<(Signal, String)>> {
        let parts = Arc::clone(self.parts());
        let flushing = self.parts().runtime.handle().spawn_blocking(move || {
            Signal::ALL
                .into_iter()
                .filter_map(|signal| Some((signal, parts.flush(signal).err()?.to_string())))
                .collect::<Vec<_>>()
        });
        let failed = flushing.await.unwrap_or_else(|error| vec![(Signal::Traces, error.to_string())]);
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    /// Shuts down within the configured deadline; see [`shutdown_within`](Self::shutdown_within).
    pub async fn shutdown(self) -> ShutdownReport {
        let deadline = self.parts().options.shutdown_timeout;
        self.shutdown_within(deadline).await
    }

    /// Shuts down in order, and returns when all is done or the deadline has passed, whichever is first: the health is
    /// not ready any more, spans are refused, then metrics, traces and logs are drained and closed.
    ///
    /// The work is done on another thread, so that no runtime is blocked, and goes on if the future is dropped.
    pub async fn shutdown_within(mut self, deadline: Duration) -> ShutdownReport {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.start_shutdown(deadline, move |report| {
            let _ = sender.send(report);
        });
        match receiver.await {
            Ok(report) => report,
            Err(_) => lost_report(deadline),
        }
    }

    /// As [`shutdown_within`](Self::shutdown_within), for a `main` without a runtime: it blocks the calling thread.
    pub fn shutdown_blocking(mut self, deadline: Duration) -> ShutdownReport {
        self.block_on_shutdown(deadline).unwrap_or_else(|| lost_report(deadline))
    }

    fn block_on_shutdown(&mut self, deadline: Duration) -> Option<ShutdownReport> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.start_shutdown(deadline, move |report| {
            let _ = sender.try_send(report);
        });
        receiver.recv_timeout(deadline).ok()
    }

    fn start_shutdown(&mut self, deadline: Duration, done: impl FnOnce(ShutdownReport) + Send + 'static) {
        if let Some(parts) = self.parts.take() {
            let handle = parts.runtime.handle().clone();
            let deadline = deadline.min(LONGEST);
            handle.spawn(async move { done(shutdown::run(parts, deadline).await) });
        }
    }
}

/// For the case that the thread which shuts down is gone, or later than the deadline that it keeps itself.
fn lost_report(deadline: Duration) -> ShutdownReport {
    ShutdownReport {
        unfinished: Signal::ALL
            .into_iter()
            .map(|signal| (signal, "the deadline passed".to_owned()))
            .collect(),
        spans: Counts::default(),
        logs: Counts::default(),
        took: deadline,
    }
}

impl Parts {
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
        let Some(parts) = &self.parts else { return };
        let deadline = parts.options.shutdown_timeout;
        // The report is in the log; there is nobody else to give it to.
        let _ = self.block_on_shutdown(deadline);
    }
}
