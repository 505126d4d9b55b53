//! The telemetry of one side of a soak of messages.

use otel_testing::{Metric, Recorder};

use crate::spans::CountingTracerProvider;

/// The telemetry of one side. The recorder would keep all spans, so a separate provider counts them.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MessagingTelemetry {
    /// The counts of spans.
    pub spans: CountingTracerProvider,
    metrics: Recorder,
}

impl MessagingTelemetry {
    /// Returns the options of this side's clients.
    #[must_use]
    pub fn options(&self) -> otel_kafka::Options {
        otel_kafka::Options::new()
            .with_tracer_provider(&self.spans)
            .with_meter_provider(self.metrics.meter_provider())
    }

    /// Returns the duration metrics.
    #[must_use]
    pub fn durations(&self) -> [Metric; 2] {
        ["messaging.client.operation.duration", "messaging.process.duration"]
            .map(|name| self.metrics.metric(name))
    }

    /// Returns the sum of the counter with this name.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.metrics.metric(name).points().iter().map(|point| point.sum() as u64).sum()
    }
}
