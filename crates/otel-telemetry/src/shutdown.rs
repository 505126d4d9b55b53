//! The ordered shutdown within one deadline.
//!
//! Follows "Shutdown" of the [Trace SDK](https://opentelemetry.io/docs/specs/otel/trace/sdk/#shutdown), the [Metrics
//! SDK](https://opentelemetry.io/docs/specs/otel/metrics/sdk/#shutdown) and the [Logs
//! SDK](https://opentelemetry.io/docs/specs/otel/logs/sdk/#shutdown). The order is: not ready, no more spans,
//! metrics, traces, logs, close. Each step gets its share of the remaining time; a step that does not finish is
//! cancelled, counted and reported.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use crate::batch::{Command, Counts, Queue};
use crate::builder;
use crate::config::Signal;
use crate::telemetry::Running;

/// Divisor of the deadline that gives the time reserved for cancelling unfinished steps.
const RESERVE: u32 = 10;

/// The time after which the shutdown of the SDK's periodic reader gives up, whatever its share is.
const READER_LIMIT: Duration = Duration::from_secs(5);

/// The result of a shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The signals whose shutdown failed or did not finish, with the reason; empty on success.
    pub unfinished: Vec<(Signal, String)>,
    /// The final counts of the spans.
    pub spans: Counts,
    /// The final counts of the log records.
    pub logs: Counts,
    /// The duration of the shutdown.
    pub took: Duration,
}

impl ShutdownReport {
    /// Returns true if each signal was drained and its last export succeeded. Earlier drops do not count.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unfinished.is_empty()
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "telemetry was shut down in {:?}", self.took)?;
        for (signal, why) in &self.unfinished {
            write!(f, "; {signal} did not finish: {why}")?;
        }
        for (kind, counts) in [("spans", self.spans), ("log records", self.logs)] {
            let lost = counts.dropped.total();
            if lost > 0 {
                write!(f, "; {lost} of {} {kind} were lost", counts.ended)?;
            }
        }
        Ok(())
    }
}

/// Returns the report if the control thread does not return one by the deadline that it is given.
pub(crate) fn lost_report(deadline: Duration) -> ShutdownReport {
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

/// Runs the shutdown on the control thread, and passes the report to `done`.
pub(crate) async fn run(running: Arc<Running>, deadline: Duration, done: impl FnOnce(ShutdownReport)) {
    let start = Instant::now();
    let reserve = deadline / RESERVE;
    let mut shares = Shares::new(start + (deadline - reserve), 3);
    let mut unfinished = Vec::new();
    running.health.begin_shutdown();
    running.metrics.status.close();
    if running.installed.load(Ordering::SeqCst) {
        // Spans that start from now on have to ask the provider, which soon starts none.
        otel_operation::reset_declarations();
        otel_propagation::declare_random_trace_ids(false);
    }
    if let Some(spans) = &running.spans {
        spans.refuse();
    }
    for signal in Signal::ALL {
        let began = Instant::now();
        let share = shares.next(began);
        let shutting = Arc::clone(&running);
        // The SDK's shutdown blocks, and so can processors and readers of the application.
        let shutdown = tokio::task::spawn_blocking(move || shutting.shut_down(signal, share));
        let result = tokio::time::timeout(share + reserve / 6, shutdown).await;
        // The application shuts the provider down at the same time, and its call exports the rest; or the SDK's reader of metrics has
        // given up.
        let is_late = signal == Signal::Metrics
            && matches!(result, Ok(Ok(Err(_))))
            && began.elapsed() >= READER_LIMIT
            && !*running.metrics.ended.borrow();
        if is_late || matches!(result, Ok(Ok(Err(OTelSdkError::AlreadyShutdown)))) {
            let has_ended = settle(&running, signal, share.saturating_sub(began.elapsed())).await;
            if is_late && has_ended && running.health.export_failure(signal).is_none() {
                continue;
            }
        }
        running.give_up(signal);
        if !settle(&running, signal, reserve / 6).await {
            running.abandon(signal);
        }
        let error = match result {
            // The provider was already shut down by the application, which counts as finished.
            Ok(Ok(Ok(()) | Err(OTelSdkError::AlreadyShutdown))) => continue,
            Ok(Ok(Err(OTelSdkError::Timeout(_)))) | Err(_) => running.unfinished(signal, share),
            Ok(Ok(Err(error))) => running.explain(signal, &error),
            Ok(Err(_panic)) => "it panicked".to_owned(),
        };
        unfinished.push((signal, error));
    }
    let report = ShutdownReport {
        unfinished,
        spans: running.spans.as_ref().map(Queue::counts).unwrap_or_default(),
        logs: running.logs.as_ref().map(Queue::counts).unwrap_or_default(),
        took: start.elapsed(),
    };
    if running.installed.load(Ordering::SeqCst) {
        builder::allow_init();
    }
    let logged = report.clone();
    // The subscriber may block, and so may the drop of the application's processors.
    let logging = tokio::task::spawn_blocking(move || {
        log(&logged);
        drop(running);
    });
    let _ = tokio::time::timeout(reserve / 6, logging).await;
    done(report);
}

fn log(report: &ShutdownReport) {
    if report.is_complete() {
        tracing::debug!("{report}");
    } else {
        tracing::warn!(name: "telemetry.shutdown", "{report}");
    }
}

/// Waits until a closed queue has counted all its records, or the exporter of metrics is closed; returns false if not by then.
async fn settle(running: &Running, signal: Signal, most: Duration) -> bool {
    let ended = async {
        // An ended worker rejects the command; a worker that is about to end drops it. Either ends the wait.
        match signal {
            Signal::Traces => {
                if let Some(queue) = &running.spans {
                    let _ = queue.command_async(Command::Flush).await;
                }
            }
            Signal::Logs => {
                if let Some(queue) = &running.logs {
                    let _ = queue.command_async(Command::Flush).await;
                }
            }
            Signal::Metrics => {
                let _ = running.metrics.ended.subscribe().wait_for(|ended| *ended).await;
            }
        }
    };
    tokio::time::timeout(most, ended).await.is_ok()
}

/// Divides the remaining time among the remaining steps.
pub(crate) struct Shares {
    end: Instant,
    steps: u32,
}

impl Shares {
    pub(crate) fn new(end: Instant, steps: u32) -> Self {
        Self { end, steps }
    }

    pub(crate) fn next(&mut self, now: Instant) -> Duration {
        let share = self.end.saturating_duration_since(now) / self.steps.max(1);
        self.steps = self.steps.saturating_sub(1);
        share
    }
}

impl Running {
    fn shut_down(&self, signal: Signal, timeout: Duration) -> OTelSdkResult {
        match signal {
            Signal::Traces => self.tracer_provider.shutdown_with_timeout(timeout),
            Signal::Metrics => self.meter_provider.shutdown_with_timeout(timeout),
            Signal::Logs => self.logger_provider.shutdown_with_timeout(timeout),
        }
    }

    /// Counts the records of an exporter that ignores its cancellation.
    fn abandon(&self, signal: Signal) {
        match signal {
            Signal::Traces => self.spans.iter().for_each(Queue::abandon),
            Signal::Logs => self.logs.iter().for_each(Queue::abandon),
            Signal::Metrics => {}
        }
    }

    /// Cancels the remaining work of a signal; a no-op after a complete shutdown.
    fn give_up(&self, signal: Signal) {
        match signal {
            Signal::Traces => self.spans.iter().for_each(Queue::cancel),
            Signal::Logs => self.logs.iter().for_each(Queue::cancel),
            Signal::Metrics => {
                self.metrics.cancelled.send_replace(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_time_goes_to_the_steps_that_are_left() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut shares = Shares::new(at(900), 3);
        assert_eq!(shares.next(at(0)), Duration::from_millis(300));
        assert_eq!(shares.next(at(100)), Duration::from_millis(400));
        assert_eq!(shares.next(at(500)), Duration::from_millis(400));
        assert_eq!(shares.next(at(950)), Duration::ZERO);
    }
}
