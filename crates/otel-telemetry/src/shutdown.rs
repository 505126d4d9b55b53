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
use crate::config::Signal;
use crate::telemetry::Parts;

/// Divisor of the deadline that gives the time reserved for cancelling unfinished steps.
const RESERVE: u32 = 10;

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

/// Runs the shutdown; spawned on the export runtime, so that the caller can wait for it synchronously or not.
pub(crate) async fn run(parts: Arc<Parts>, deadline: Duration) -> ShutdownReport {
    let start = Instant::now();
    let reserve = deadline / RESERVE;
    let mut shares = Shares { end: start + (deadline - reserve), steps: 3 };
    let mut unfinished = Vec::new();
    parts.health.begin_shutdown();
    if parts.installed.load(Ordering::SeqCst) {
        // Spans that start from now on have to ask the provider, which soon starts none.
        otel_operation::reset_declarations();
        otel_propagation::declare_random_trace_ids(false);
    }
    if let Some(spans) = &parts.spans {
        spans.refuse();
    }
    for signal in Signal::ALL {
        let share = shares.next(Instant::now());
        let shutting = Arc::clone(&parts);
        // The SDK's shutdown blocks, and so can processors and readers of the application.
        let shutdown = tokio::task::spawn_blocking(move || shutting.shut_down(signal, share));
        let result = match tokio::time::timeout(share + reserve / 6, shutdown).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(OTelSdkError::InternalFailure("it panicked".into())),
            Err(_elapsed) => Err(OTelSdkError::Timeout(share)),
        };
        parts.give_up(signal);
        settle(&parts, signal, reserve / 6).await;
        match result {
            // The provider was already shut down by the application, which counts as finished.
            Ok(()) | Err(OTelSdkError::AlreadyShutdown) => {}
            Err(error) => unfinished.push((signal, error.to_string())),
        }
    }
    let report = ShutdownReport {
        unfinished,
        spans: parts.spans.as_ref().map(Queue::counts).unwrap_or_default(),
        logs: parts.logs.as_ref().map(Queue::counts).unwrap_or_default(),
        took: start.elapsed(),
    };
    if report.is_complete() {
        tracing::debug!("{report}");
    } else {
        tracing::warn!(name: "telemetry.shutdown", "{report}");
    }
    report
}

/// Waits until a cancelled queue has counted all its records.
async fn settle(parts: &Parts, signal: Signal, most: Duration) {
    let ended = async {
        // An ended worker rejects the command; a worker that is about to end drops it. Either ends the wait.
        match signal {
            Signal::Traces => {
                if let Some(queue) = &parts.spans {
                    let _ = queue.command_async(Command::Flush).await;
                }
            }
            Signal::Logs => {
                if let Some(queue) = &parts.logs {
                    let _ = queue.command_async(Command::Flush).await;
                }
            }
            Signal::Metrics => {}
        }
    };
    let _ = tokio::time::timeout(most, ended).await;
}

/// Divides the remaining time among the remaining steps.
struct Shares {
    end: Instant,
    steps: u32,
}

impl Shares {
    fn next(&mut self, now: Instant) -> Duration {
        let share = self.end.saturating_duration_since(now) / self.steps.max(1);
        self.steps = self.steps.saturating_sub(1);
        share
    }
}

impl Parts {
    fn shut_down(&self, signal: Signal, timeout: Duration) -> OTelSdkResult {
        match signal {
            Signal::Traces => self.tracer_provider.shutdown_with_timeout(timeout),
            Signal::Metrics => self.meter_provider.shutdown_with_timeout(timeout),
            Signal::Logs => self.logger_provider.shutdown_with_timeout(timeout),
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
        let mut shares = Shares { end: at(900), steps: 3 };
        assert_eq!(shares.next(at(0)), Duration::from_millis(300));
        assert_eq!(shares.next(at(100)), Duration::from_millis(400));
        assert_eq!(shares.next(at(500)), Duration::from_millis(400));
        assert_eq!(shares.next(at(950)), Duration::ZERO);
    }
}
