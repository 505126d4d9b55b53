//! The export of metrics: an exporter with a timeout that can be cancelled, and the metrics about the export itself.
//!
//! Follows "Periodic exporting MetricReader" of the [Metrics
//! SDK](https://opentelemetry.io/docs/specs/otel/metrics/sdk/#periodic-exporting-metricreader), and the semantic
//! conventions for [SDK metrics](https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/) (`otel.sdk.*`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::batch::{Counts, Shared};
use crate::runtime::Entered;
use crate::status::ExportStatus;

/// The state of the metric export, and the switch that cancels it.
#[derive(Debug)]
pub(crate) struct MetricsState {
    pub(crate) status: Arc<ExportStatus>,
    pub(crate) cancelled: watch::Sender<bool>,
    /// True if no exporter is open.
    pub(crate) ended: watch::Sender<bool>,
}

/// An exporter whose exports have a timeout and can be cancelled, which the SDK's reader does not provide. The reader
/// polls it on a thread of its own, and `runtime` has the timers and connections.
#[derive(Debug)]
pub(crate) struct TimedMetrics<E> {
    exporter: E,
    timeout: Duration,
    runtime: Handle,
    state: Arc<MetricsState>,
    /// Ends the thread of the connections when it is dropped, at the shutdown: the global provider and instruments keep the exporter.
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl<E> TimedMetrics<E> {
    pub(crate) fn new(
        exporter: E,
        timeout: Duration,
        (runtime, stop): (Handle, Option<oneshot::Sender<()>>),
        state: Arc<MetricsState>,
    ) -> Self {
        state.ended.send_replace(false);
        Self { exporter, timeout, runtime, state, stop: Mutex::new(stop) }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for TimedMetrics<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let status = &*self.state.status;
        let mut cancelled = self.state.cancelled.subscribe();
        status.begin();
        let export = async {
            tokio::select! {
                biased;
                _ = cancelled.wait_for(|cancelled| *cancelled) => Err(OTelSdkError::AlreadyShutdown),
                exported = tokio::time::timeout(self.timeout, self.exporter.export(metrics)) => {
                    exported.unwrap_or(Err(OTelSdkError::Timeout(self.timeout)))
                }
            }
        };
        match Entered::new(self.runtime.clone(), export).await {
            Ok(()) => {
                status.succeeded();
                Ok(())
            }
            Err(OTelSdkError::AlreadyShutdown) => Err(OTelSdkError::AlreadyShutdown),
            Err(error) => {
                let timed_out = matches!(error, OTelSdkError::Timeout(_));
                Err(OTelSdkError::InternalFailure(status.conclude(&error, timed_out).cause))
            }
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let result = self.exporter.shutdown_with_timeout(timeout);
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.state.ended.send_replace(true);
        result
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Publishes the counts of a queue: processed and exported records by `error.type`, queue size and capacity.
///
/// `kind` is `span` or `log`; `exporter` is the well-known component type of the exporter. The descriptions are the
/// registry's, to the letter.
pub(crate) fn observe_queue(
    meters: &impl MeterProvider,
    kind: &'static str,
    exporter: &'static str,
    shared: &Arc<Shared>,
) {
    let meter = meters.meter("otel_telemetry");
    let unit = format!("{{{kind}}}").replace("log", "log_record");
    let [records, in_queue, in_full_queue] = match kind {
        "span" => ["spans", "SDK span processor", "SDK span processor"],
        _ => ["log records", "SDK log processor", "SDK Log Record processor"],
    };
    let processor = match kind {
        "span" => "batching_span_processor",
        _ => "batching_log_processor",
    };
    // A component name ends in an index, which distinguishes components of one type; each type occurs once here.
    let component = |kind: &'static str| {
        [
            KeyValue::new("otel.component.type", kind),
            KeyValue::new("otel.component.name", format!("{kind}/0")),
        ]
    };
    let (processor, exporter) = (component(processor), component(exporter));

    observe_sum(
        &meter,
        format!("otel.sdk.processor.{kind}.processed"),
        &unit,
        format!(
            "The number of {records} for which the processing has finished, either successful or failed."
        ),
        processor.clone(),
        shared,
        |counts| {
            let dropped = counts.dropped;
            vec![
                (None, counts.accepted + dropped.failed + dropped.timed_out + dropped.rejected),
                (Some("queue_full"), dropped.queue_full),
                (Some("already_shutdown"), dropped.shut_down),
            ]
        },
    );
    observe_sum(
        &meter,
        format!("otel.sdk.exporter.{kind}.exported"),
        &unit,
        format!("The number of {records} for which the export has finished, either successful or failed."),
        exporter,
        shared,
        |counts| {
            vec![
                (None, counts.accepted),
                (Some("timeout"), counts.dropped.timed_out),
                (Some("rejected"), counts.dropped.rejected),
                (Some("_OTHER"), counts.dropped.failed),
            ]
        },
    );
    let (size, attributes) = (Arc::clone(shared), processor.clone());
    meter
        .i64_observable_up_down_counter(format!("otel.sdk.processor.{kind}.queue.size"))
        .with_unit(unit.clone())
        .with_description(format!(
            "The number of {records} in the queue of a given instance of an {in_queue}."
        ))
        .with_callback(move |observer| {
            let pending = size.account.read().pending;
            observer.observe(i64::try_from(pending).unwrap_or(i64::MAX), &attributes);
        })
        .build();
    let capacity = i64::try_from(shared.options.max_queue_size).unwrap_or(i64::MAX);
    meter
        .i64_observable_up_down_counter(format!("otel.sdk.processor.{kind}.queue.capacity"))
        .with_unit(unit)
        .with_description(format!(
            "The maximum number of {records} the queue of a given instance of an {in_full_queue} can hold."
        ))
        .with_callback(move |observer| observer.observe(capacity, &processor))
        .build();
}

/// An `error.type`, or none for success, and its number of records.
type ByError = (Option<&'static str>, u64);

fn observe_sum(
    meter: &Meter,
    name: String,
    unit: &str,
    description: String,
    component: [KeyValue; 2],
    shared: &Arc<Shared>,
    values: fn(Counts) -> Vec<ByError>,
) {
    let shared = Arc::clone(shared);
    meter
        .u64_observable_counter(name)
        .with_unit(unit.to_owned())
        .with_description(description)
        .with_callback(move |observer| {
            for (error, value) in values(shared.account.read()) {
                let mut attributes = component.to_vec();
                match error {
                    // A reason that never occurred gets no series.
                    Some(_) if value == 0 => continue,
                    Some(error) => attributes.push(KeyValue::new("error.type", error)),
                    None => {}
                }
                observer.observe(value, &attributes);
            }
        })
        .build();
}
