//! The options of a recorder.
//!
//! Follows <https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampler> and
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk/#id-generators>.

use std::time::Duration;

use opentelemetry_sdk::{
    logs::SdkLoggerProvider,
    metrics::SdkMeterProvider,
    trace::{IdGenerator, Sampler, SdkTracerProvider, ShouldSample, TracerProviderBuilder},
};

use super::{Recorder, SharedReader, logs::LogRecords};
use crate::{
    meter::{MeasurementLog, RecordingMeterProvider},
    provider::{RecordingTracerProvider, SequentialIds},
    span_log::SpanLog,
};

/// Options of a [`Recorder`].
#[derive(Debug)]
pub struct RecorderBuilder {
    tracers: TracerProviderBuilder,
    span_log: SpanLog,
    patience: Duration,
}

impl RecorderBuilder {
    pub(super) fn new() -> Self {
        let span_log = SpanLog::default();
        let tracers = SdkTracerProvider::builder()
            .with_span_processor(span_log.clone())
            .with_sampler(Sampler::AlwaysOn)
            .with_id_generator(SequentialIds::new());
        Self { tracers, span_log, patience: Duration::from_secs(10) }
    }

    /// Decides which spans are sampled; the default is all of them. The recorder's ids count up from one, so that
    /// a sampler by ratio of trace ids takes all or none.
    #[must_use]
    pub fn with_sampler(mut self, sampler: impl ShouldSample + 'static) -> Self {
        self.tracers = self.tracers.with_sampler(sampler);
        self
    }

    /// Makes the ids, which otherwise count up from one and differ from those of other recorders.
    #[must_use]
    pub fn with_id_generator(mut self, generator: impl IdGenerator + 'static) -> Self {
        self.tracers = self.tracers.with_id_generator(generator);
        self
    }

    /// Adds a span processor, which runs after the recorder's own.
    #[cfg(feature = "conformance")]
    #[must_use]
    pub(crate) fn with_span_processor(
        mut self,
        processor: impl opentelemetry_sdk::trace::SpanProcessor + 'static,
    ) -> Self {
        self.tracers = self.tracers.with_span_processor(processor);
        self
    }

    /// The time after which a wait gives up with a panic. Default: 10 seconds.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The recorder.
    #[must_use]
    pub fn build(self) -> Recorder {
        let Self { tracers, span_log, patience } = self;
        let sdk = tracers.build();
        let reader = SharedReader::default();
        let sdk_meters = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        let log_records = LogRecords::default();
        let logger_provider = SdkLoggerProvider::builder().with_log_processor(log_records.clone()).build();
        let meter_provider = RecordingMeterProvider { sdk: sdk_meters, log: MeasurementLog::default() };
        Recorder {
            tracer_provider: RecordingTracerProvider { sdk, span_log },
            meter_provider,
            logger_provider,
            log_records,
            reader,
            patience,
        }
    }
}
