//! LazyInstruments and series with fixed attributes.

use std::sync::{Arc, OnceLock};

use opentelemetry::metrics::{Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::{AttributedHistogram, AttributedUpDownCounter, LazyInstruments};
use otel_testing::Recorder;

use crate::support::scope;

struct Jobs {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
}

fn create(meter: &Meter) -> Jobs {
    Jobs {
        duration: meter.f64_histogram("job.duration").with_unit("s").build(),
        active: meter.i64_up_down_counter("job.active").build(),
    }
}

#[test]
fn a_series_records_under_its_attributes() {
    let recorder = Recorder::new();
    let instruments = LazyInstruments::new(Arc::new(recorder.meter_provider().clone()), scope(), create);
    let jobs = instruments.get().unwrap();
    let series =
        |kind: &'static str| AttributedHistogram::new(&jobs.duration, vec![KeyValue::new("kind", kind)]);
    let (first, second, unused) = (series("a"), series("b"), series("c"));
    first.record(1.0);
    first.record(2.0);
    second.record(4.0);
    let active = AttributedUpDownCounter::new(&jobs.active, vec![]);
    active.add(2);
    active.add(-1);
    let durations = recorder.metric("job.duration");
    assert_eq!(
        (durations.clone().with("kind", "a").count(), durations.clone().with("kind", "a").sum()),
        (2, 3.0)
    );
    assert_eq!(durations.clone().with("kind", "b").sum(), 4.0);
    assert_eq!(durations.points().len(), 2, "a series that was never used exports nothing");
    assert_eq!(recorder.metric("job.active").sum(), 1.0);
    drop(unused);
}

#[test]
fn a_given_provider_without_a_size_is_no_noop() {
    static PROVIDER: OnceLock<Box<dyn MeterProvider + Send + Sync>> = OnceLock::new();
    struct Forwards;
    impl MeterProvider for Forwards {
        fn meter_with_scope(&self, scope: InstrumentationScope) -> Meter {
            PROVIDER.get().unwrap().meter_with_scope(scope)
        }
    }
    let recorder = Recorder::new();
    assert!(PROVIDER.set(Box::new(recorder.meter_provider().clone())).is_ok());
    let instruments = LazyInstruments::new(Arc::new(Forwards), scope(), create);
    instruments.get().unwrap().active.add(1, &[]);
    assert_eq!(recorder.metric("job.active").sum(), 1.0);
}
