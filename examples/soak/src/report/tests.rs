//! The report sees each kind of disagreement.

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use otel_testing::Recorder;

use super::{Report, Side};
use crate::{Class, CountingTracerProvider, Tally};

const STATUS: &str = "http.response.status_code";

/// Three operations with everything as it should be, until `break_it` adds to it.
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
    let marked = report.text().lines().filter(|line| line.ends_with("<-- wrong")).count();
    assert_eq!(marked, report.failures().len(), "{}", report.text());
    report.failures().to_vec()
}

fn observe(observed: &Tally, status: i64) {
    observed.add(Class::of_attributes(&[KeyValue::new(STATUS, status)]));
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
fn agreement_is_no_failure() {
    assert_eq!(failures(|_, _, _| {}), [""; 0]);
}

#[test]
fn a_span_that_is_missing_is_a_failure_of_its_class_and_of_the_sum() {
    let failures = failures(|observed, _, recorder| {
        observe(observed, 404);
        measure(recorder, 404, 0);
    });
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].contains("404"), "{failures:?}");
}

#[test]
fn classes_that_differ_are_failures_though_the_sums_agree() {
    let failures = failures(|observed, provider, recorder| {
        observe(observed, 404);
        span(provider, 404, 1);
        measure(recorder, 500, 0);
    });
    assert_eq!(failures.len(), 2, "{failures:?}");
}

#[test]
fn spans_that_end_otherwise_are_failures() {
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
fn what_is_in_flight_is_a_failure_also_where_it_is_less_than_nothing() {
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
fn nothing_at_all_is_a_failure() {
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
