//! The counts of a batch: accepted + dropped = ended, whatever the exporter does.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_sdk::metrics::InMemoryMetricExporter;
use otel_telemetry::{BatchOptions, Telemetry};

use crate::support::{end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

const DEADLINE: Duration = Duration::from_secs(20);

fn with(exporter: &ScriptedExporter, options: BatchOptions) -> Telemetry {
    quiet().with_span_exporter(exporter.clone()).with_span_batch(options).build().unwrap()
}

#[test]
fn all_are_accepted_in_batches_of_the_given_size() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let options =
        BatchOptions::for_spans().with_max_batch_size(10).with_schedule_delay(Duration::from_secs(600));
    let telemetry = with(&exporter, options);
    end_spans(&telemetry, 1005);
    let report = telemetry.shutdown_blocking(DEADLINE);
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.spans.ended, report.spans.accepted), (1005, 1005));
    assert_eq!(report.spans.dropped.total(), 0);
    assert_eq!(exporter.accepted(), 1005);
    assert_eq!(exporter.largest_batch(), 10);
}

#[test]
fn a_full_batch_is_exported_at_once_and_the_rest_by_time() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let options =
        BatchOptions::for_spans().with_max_batch_size(10).with_schedule_delay(Duration::from_secs(600));
    let telemetry = with(&exporter, options);
    end_spans(&telemetry, 10);
    wait_until(|| exporter.accepted() == 10);
    assert!(telemetry.shutdown_blocking(DEADLINE).is_complete());

    let options = BatchOptions::for_spans().with_schedule_delay(Duration::from_millis(10));
    let telemetry = with(&exporter, options);
    end_spans(&telemetry, 1);
    wait_until(|| exporter.accepted() == 11);
    assert!(telemetry.shutdown_blocking(DEADLINE).is_complete());
}

#[test]
fn a_failing_exporter_loses_what_it_was_given_and_no_more() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Fail);
    let telemetry = with(&exporter, BatchOptions::for_spans());
    end_spans(&telemetry, 100);
    assert!(telemetry.tracer_provider().force_flush().is_err());
    exporter.set_behavior(ExporterBehavior::Panic);
    end_spans(&telemetry, 7);
    assert!(telemetry.tracer_provider().force_flush().is_err());
    let counts = telemetry.span_counts();
    assert_eq!(counts.dropped.failed, 107);
    assert_eq!(counts.pending, 0);

    exporter.set_behavior(ExporterBehavior::Accept);
    end_spans(&telemetry, 5);
    let report = telemetry.shutdown_blocking(DEADLINE);
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.spans.ended, report.spans.accepted), (112, 5));
    assert_eq!(report.spans.dropped.total(), 107);
}

#[test]
fn an_export_that_takes_too_long_is_given_up_and_the_next_is_tried() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Hang);
    let options = BatchOptions::for_spans().with_export_timeout(Duration::from_millis(20));
    let telemetry = with(&exporter, options);
    end_spans(&telemetry, 3);
    let start = Instant::now();
    assert!(telemetry.tracer_provider().force_flush().is_err());
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(telemetry.span_counts().dropped.timed_out, 3);
    exporter.set_behavior(ExporterBehavior::Accept);
    end_spans(&telemetry, 2);
    let report = telemetry.shutdown_blocking(DEADLINE);
    assert_eq!((report.spans.accepted, report.spans.ended), (2, 5));
}

/// Far more spans from four threads than the exporter accepts, about 1,000 a second: no thread waits, the queue stays
/// within its capacity, and every span is counted.
#[test]
fn a_full_queue_neither_blocks_nor_miscounts() {
    const THREADS: u64 = 4;
    const SPANS: u64 = 50_000;
    let exporter = ScriptedExporter::new(ExporterBehavior::Slow(Duration::from_millis(500)));
    let options = BatchOptions::for_spans().with_max_queue_size(1000);
    let telemetry = with(&exporter, options);
    let start = Instant::now();
    let mut most_pending = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| end_spans(&telemetry, SPANS))).collect();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            most_pending = most_pending.max(telemetry.span_counts().pending);
            std::thread::yield_now();
        }
    });
    let took = start.elapsed();
    let report = telemetry.shutdown_blocking(DEADLINE);
    assert!(report.is_complete(), "{report}");
    let counts = report.spans;
    assert_eq!(counts.ended, THREADS * SPANS);
    assert_eq!(counts.accepted + counts.dropped.total(), counts.ended);
    assert_eq!(counts.pending, 0);
    assert_eq!(counts.accepted, exporter.accepted());
    assert!(counts.dropped.queue_full > 0, "{counts:?}");
    assert_eq!(counts.dropped.total(), counts.dropped.queue_full);
    // The queue, the batch that is being exported, and one span a thread between its two counts.
    assert!(most_pending <= 1000 + 512 + THREADS, "{most_pending}");
    // If the threads waited for the exporter, it would take more than three minutes.
    assert!(took < Duration::from_secs(60), "{took:?}");
}

/// Metrics are collected for the last time after spans are refused and before their provider is shut down.
#[test]
fn a_span_that_ends_while_shutting_down_is_counted() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    let telemetry = quiet()
        .with_span_exporter(exporter.clone())
        .map_meter_provider(|meters| meters.with_periodic_exporter(InMemoryMetricExporter::default()))
        .build()
        .unwrap();
    end_spans(&telemetry, 2);
    let late = telemetry.tracer_provider().tracer("test").start("late");
    let late = Mutex::new(Some(late));
    let meter = telemetry.meter_provider().meter("test");
    meter
        .u64_observable_counter("ends.a.span")
        .with_callback(move |_| drop(late.lock().unwrap().take()))
        .build();
    let report = telemetry.shutdown_blocking(DEADLINE);
    assert!(report.is_complete(), "{report}");
    let counts = report.spans;
    assert_eq!((counts.ended, counts.accepted), (3, 2));
    assert_eq!(counts.dropped.shut_down, 1);
    assert_eq!(counts.pending, 0);
}

/// Polls, because no interface reports a background export; fails after 20 seconds.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain");
        std::thread::yield_now();
    }
}
