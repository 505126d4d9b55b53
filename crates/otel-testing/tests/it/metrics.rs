//! Rendered and structured metrics, bound instruments included.

use std::panic::catch_unwind;

use opentelemetry::{KeyValue, metrics::MeterProvider};
use otel_testing::{MetricKind, Recorder};

#[test]
fn rendered_by_name_with_sorted_attributes() {
    let recorder = Recorder::new();
    let meter = recorder.meter_provider().meter("test");
    let size = meter.u64_histogram("b.size").with_unit("By").with_boundaries(vec![10.0, 100.0]).build();
    size.record(5, &[KeyValue::new("z", "1"), KeyValue::new("a", 49_999)]);
    size.record(7, &[KeyValue::new("a", 49_999), KeyValue::new("z", "1")]);
    size.record(7, &[]);
    meter.f64_histogram("c.duration").with_unit("s").build().record(0.25, &[KeyValue::new("x.port", 50_000)]);
    meter.u64_counter("a.count").build().add(3, &[]);
    meter.i64_up_down_counter("d.active").with_unit("{request}").build().add(-1, &[]);
    meter.f64_gauge("e.level").build().record(0.5, &[]);
    assert_eq!(
        recorder.metrics(),
        "\
a.count (counter)
    {} 3
b.size (histogram, By)
    {a=49999, z=\"1\"} count 2, sum 12
    {} count 1, sum 7
c.duration (histogram, s)
    {x.port=PORT} count 1, sum TIME
d.active (up-down counter, {request})
    {} -1
e.level (gauge)
    {} 0.5
"
    );
}

#[test]
fn narrowed_by_attributes() {
    let recorder = Recorder::new();
    let duration = recorder.meter_provider().meter("test").f64_histogram("d").with_unit("s").build();
    duration.record(1.0, &[KeyValue::new("method", "GET"), KeyValue::new("status", 200)]);
    duration.record(2.0, &[KeyValue::new("method", "GET"), KeyValue::new("status", 500)]);
    duration.record(4.0, &[KeyValue::new("method", "PUT")]);

    let all = recorder.metric("d");
    assert_eq!((all.kind(), all.unit(), all.count(), all.sum()), (Some(MetricKind::Histogram), "s", 3, 7.0));
    assert_eq!(all.clone().with("method", "GET").count(), 2);
    assert_eq!(all.clone().with("method", "GET").with("status", 500).sum(), 2.0);
    assert_eq!(all.clone().with("status", "500").count(), 0, "the type matters");
    assert_eq!(all.without("status").sum(), 4.0);
    assert_eq!(recorder.metric("nothing").kind(), None);
}

#[test]
fn bound_measurements_are_seen() {
    let recorder = Recorder::new();
    let meter = recorder.meter_provider().meter("test");
    let histogram = meter.f64_histogram("d").build();
    histogram.bind(&[KeyValue::new("method", "GET")]).record(1.0);
    meter.i64_up_down_counter("active").build().bind(&[]).add(1);
    assert_eq!(recorder.metric("d").with("method", "GET").count(), 1);
    assert_eq!(recorder.metric("active").sum(), 1.0);
}

#[test]
fn what_is_in_flight_is_seen_by_series() {
    let recorder = Recorder::new();
    let active = recorder.meter_provider().meter("test").i64_up_down_counter("active").build();
    let (get, put) = ([KeyValue::new("method", "GET")], [KeyValue::new("method", "PUT")]);
    recorder.assert_nothing_in_flight();
    active.add(1, &get);
    // The sum over both series is 0, and yet each is wrong.
    active.add(-1, &put);
    let wrong = recorder.clone();
    let panic = catch_unwind(move || wrong.assert_nothing_in_flight()).expect_err("it must panic");
    let text = panic.downcast_ref::<String>().expect("a message");
    assert!(text.contains("{method=GET} 1\n") && text.contains("{method=PUT} -1\n"), "{text}");
    active.add(-1, &get);
    active.add(1, &put);
    recorder.assert_clean();
}

#[test]
fn there_are_none_after_a_shutdown() {
    let recorder = Recorder::new();
    recorder.meter_provider().meter("test").u64_counter("a").build().add(1, &[]);
    recorder.shutdown();
    assert_eq!(recorder.metrics(), "");
}

#[test]
fn observable_instruments_are_collected_and_options_are_kept() {
    let recorder = Recorder::new();
    let meter = recorder.meter_provider().meter("test");
    meter.u64_observable_counter("a").with_unit("{a}").with_callback(|it| it.observe(2, &[])).build();
    meter.f64_observable_counter("b").with_callback(|it| it.observe(0.5, &[])).build();
    meter.i64_observable_up_down_counter("c").with_callback(|it| it.observe(-3, &[])).build();
    meter.f64_observable_up_down_counter("d").with_callback(|it| it.observe(-0.5, &[])).build();
    meter.u64_observable_gauge("e").with_callback(|it| it.observe(4, &[])).build();
    meter.i64_observable_gauge("f").with_callback(|it| it.observe(-4, &[])).build();
    meter.f64_observable_gauge("g").with_callback(|it| it.observe(4.5, &[])).build();
    meter.f64_counter("h").build().add(1.5, &[]);
    meter.f64_up_down_counter("i").build().add(-1.5, &[]);
    meter.u64_gauge("j").build().record(1, &[]);
    meter.i64_gauge("k").build().record(-1, &[]);
    meter.u64_histogram("l").with_boundaries(vec![1.0, 2.0]).build().record(1, &[]);
    assert_eq!(
        recorder.metrics(),
        "\
a (counter, {a})
    {} 2
b (counter)
    {} 0.5
c (up-down counter)
    {} -3
d (up-down counter)
    {} -0.5
e (gauge)
    {} 4
f (gauge)
    {} -4
g (gauge)
    {} 4.5
h (counter)
    {} 1.5
i (up-down counter)
    {} -1.5
j (gauge)
    {} 1
k (gauge)
    {} -1
l (histogram)
    {} count 1, sum 1
"
    );
    assert_eq!(recorder.metric("l").points()[0].bounds(), [1.0, 2.0]);
}

#[test]
fn measurements_past_bound_instruments_are_known_by_name() {
    let recorder = Recorder::new();
    let meter = recorder.meter_provider().meter("test");
    let (bound, unbound) = (meter.u64_counter("bound").build(), meter.f64_histogram("unbound").build());
    let gauge = meter.u64_gauge("gauge").build();
    bound.bind(&[]).add(1);
    gauge.record(1, &[]);
    assert!(recorder.unbound_metrics().is_empty(), "gauges are recorded rarely");
    unbound.record(1.0, &[]);
    assert_eq!(recorder.unbound_metrics(), ["unbound"]);
    bound.add(1, &[]);
    assert_eq!(recorder.unbound_metrics(), ["bound", "unbound"]);
}
