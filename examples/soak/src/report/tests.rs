//! Each kind of disagreement fails the report.

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use otel_testing::Recorder;

use super::{Report, Side};
use crate::{Class, CountingTracerProvider, Tally};

const STATUS: &str = "http.response.status_code";

/// Returns the failures of three consistent operations after `break_it` has changed them.
fn failures(break_it: impl FnOnce(&Tally, &CountingTracerProvider, &Recorder)) -> Vec<String> {
    let (observed, provider, recorder) = (Tally::default(), CountingTracerProvider::new(), Recorder::new());
    for status in [200, 200, 503] {
        observe(&observed, status);
        span(&provider, status, 1);
        measure(&recorder, status, 0);
    }
    break_it(&observed, &provider, &recorder);
    let (durations, active) = (recorder.metric("duration"), recorder.metric("active"));
    let mut report = Report::default();
    report.side(&Side::new("server", &observed, provider.counts(), &[durations], Some(&active)));
    let marked = report.text().lines().filter(|line| line.ends_with("<-- failed")).count();
    assert_eq!(marked, report.failures().len(), "{}", report.text());
    report.failures().to_vec()
}

fn observe(observed: &Tally, status: i64) {
    observed.add(Class::from_attributes(&[KeyValue::new(STATUS, status)]));
}

fn span(provider: &CountingTracerProvider, status: i64, ends: usize) {
    let mut span = provider.tracer("test").start("operation");
    span.set_attribute(KeyValue::new(STATUS, status));
    (0..ends).for_each(|_| span.end());
}

fn measure(recorder: &Recorder, status: i64, left_in_flight: i64) {
    let meter = recorder.meter_provider().meter("test");
    meter.f64_histogram("duration").build().record(0.1, &[KeyValue::new(STATUS, status)]);
    meter.i64_up_down_counter("active").build().add(left_in_flight, &[]);
}

#[test]
fn consistent_counts_pass() {
    assert_eq!(failures(|_, _, _| {}), [""; 0]);
}

#[test]
fn a_missing_span_fails_its_class_and_the_sum() {
    let failures = failures(|observed, _, recorder| {
        observe(observed, 404);
        measure(recorder, 404, 0);
    });
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].contains("404"), "{failures:?}");
}

#[test]
fn different_classes_fail_even_if_the_sums_agree() {
    let failures = failures(|observed, provider, recorder| {
        observe(observed, 404);
        span(provider, 404, 1);
        measure(recorder, 500, 0);
    });
    assert_eq!(failures.len(), 2, "{failures:?}");
}

#[test]
fn spans_that_end_never_or_twice_fail() {
    for ends in [0, 2] {
        let failures = failures(|observed, provider, recorder| {
            observe(observed, 200);
            span(provider, 200, ends);
            measure(recorder, 200, 0);
        });
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains("spans started 4: ended once 3"), "{failures:?}");
    }
}

#[test]
fn operations_in_flight_fail_even_if_negative() {
    for left in [1, -1] {
        let failures = failures(|observed, provider, recorder| {
            observe(observed, 200);
            span(provider, 200, 1);
            measure(recorder, 200, left);
        });
        assert_eq!(failures, ["  in flight 1"]);
    }
}

#[test]
fn an_empty_run_fails() {
    let (observed, provider, recorder) = (Tally::default(), CountingTracerProvider::new(), Recorder::new());
    let empty = recorder.metric("duration");
    let mut report = Report::default();
    report.side(&Side::new(
        "server",
        &observed,
        provider.counts(),
        std::slice::from_ref(&empty),
        Some(&empty),
    ));
    assert_eq!(report.failures().len(), 2, "{}", report.text());
}
