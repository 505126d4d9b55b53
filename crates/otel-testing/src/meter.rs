//! The meter provider that counts measurements when they are recorded, before the SDK aggregates them.
//!
//! Follows <https://opentelemetry.io/docs/specs/otel/metrics/api/> (instruments and their measurements).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    metrics::{
        AsyncInstrumentBuilder, BoundSyncInstrument, Counter, Gauge, Histogram, HistogramBuilder,
        InstrumentBuilder, InstrumentProvider, Meter, MeterProvider, ObservableCounter, ObservableGauge,
        ObservableUpDownCounter, SyncInstrument, UpDownCounter,
    },
};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::MetricKind;

/// A [`MeterProvider`] over the SDK's, whose instruments count their measurements.
///
/// The SDK exports aggregates: an up-down counter that was increased twice and decreased twice is at 0, as is
/// one that was never used, and after a shutdown nothing is exported at all. Here all of them differ.
#[derive(Clone, Debug)]
pub struct RecordingMeterProvider {
    pub(crate) sdk: SdkMeterProvider,
    pub(crate) log: MeasurementLog,
}

impl MeterProvider for RecordingMeterProvider {
    fn meter_with_scope(&self, scope: InstrumentationScope) -> Meter {
        let sdk = self.sdk.meter_with_scope(scope);
        Meter::new(Arc::new(CountingInstrumentProvider { sdk, log: self.log.clone() }))
    }
}

/// The measurements of all synchronous instruments, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct MeasurementLog(Arc<Mutex<BTreeMap<String, SharedTally>>>);

type SharedTally = Arc<Mutex<Tally>>;

/// The measurements of one instrument, whatever their attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) kind: MetricKind,
    /// Calls of `record` or `add`.
    pub(crate) calls: u64,
    pub(crate) sum: f64,
    /// Calls with the value 1.
    pub(crate) increments: u64,
    /// Calls with the value −1.
    pub(crate) decrements: u64,
    /// Calls that were not made on a bound instrument.
    pub(crate) unbound: u64,
    /// The lowest sum so far, 0 at the start.
    pub(crate) lowest: f64,
}

impl Tally {
    fn new(kind: MetricKind) -> Self {
        Self { kind, calls: 0, sum: 0.0, increments: 0, decrements: 0, unbound: 0, lowest: 0.0 }
    }

    fn add(&mut self, value: f64) {
        self.calls += 1;
        self.sum += value;
        self.increments += u64::from(value == 1.0);
        self.decrements += u64::from(value == -1.0);
        self.lowest = self.lowest.min(self.sum);
    }
}

impl MeasurementLog {
    fn tally(&self, name: &str, kind: MetricKind) -> SharedTally {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = || Arc::new(Mutex::new(Tally::new(kind)));
        Arc::clone(tallies.entry(name.to_owned()).or_insert_with(tally))
    }

    /// The counters and histograms with a measurement that was not made on a bound instrument.
    pub(crate) fn unbound(&self) -> Vec<String> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unbound = tallies.iter().filter(|(_, tally)| {
            let tally = lock(tally);
            tally.unbound > 0 && tally.kind != MetricKind::Gauge
        });
        unbound.map(|(name, _)| name.clone()).collect()
    }

    /// The instruments that recorded something.
    pub(crate) fn recorded(&self) -> BTreeMap<String, Tally> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copies = tallies.iter().map(|(name, tally)| (name.clone(), *lock(tally)));
        copies.filter(|(_, tally)| tally.calls > 0).collect()
    }

    /// The sum of all up-down counters.
    #[cfg(feature = "conformance")]
    pub(crate) fn in_flight(&self) -> f64 {
        let recorded = self.recorded();
        let counters = recorded.values().filter(|tally| tally.kind == MetricKind::UpDownCounter);
        // Not `sum`, which is -0 for an empty iterator.
        counters.fold(0.0, |sum, tally| sum + tally.sum)
    }
}

fn lock(tally: &SharedTally) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

struct CountingInstrumentProvider {
    sdk: Meter,
    log: MeasurementLog,
}

/// A value of an instrument as a number that can be added up.
trait Number: Copy + Send + Sync + 'static {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for i64 {
    fn number(self) -> f64 {
        self as f64
    }
}

type Measure<T> = Box<dyn Fn(T, &[KeyValue]) + Send + Sync>;
type Bound<T> = Box<dyn Fn(T) + Send + Sync>;
type Bind<T> = Box<dyn Fn(&[KeyValue]) -> Bound<T> + Send + Sync>;

/// The SDK's instrument, and the count in front of it.
struct CountingInstrument<T> {
    tally: SharedTally,
    measure: Measure<T>,
    bind: Bind<T>,
}

impl<T: Number> SyncInstrument<T> for CountingInstrument<T> {
    fn measure(&self, measurement: T, attributes: &[KeyValue]) {
        let mut tally = lock(&self.tally);
        tally.add(measurement.number());
        tally.unbound += 1;
        drop(tally);
        (self.measure)(measurement, attributes);
    }

    fn bind(&self, attributes: &[KeyValue]) -> Box<dyn BoundSyncInstrument<T> + Send + Sync> {
        Box::new(BoundCountingInstrument { tally: Arc::clone(&self.tally), measure: (self.bind)(attributes) })
    }
}

struct BoundCountingInstrument<T> {
    tally: SharedTally,
    measure: Bound<T>,
}

impl<T: Number> BoundSyncInstrument<T> for BoundCountingInstrument<T> {
    fn measure(&self, measurement: T) {
        lock(&self.tally).add(measurement.number());
        (self.measure)(measurement);
    }
}

/// `method: builder instrument<value> record kind {what else the builder has}`
macro_rules! counted {
    ($($method:ident: $builder:ident $instrument:ident<$value:ty> $record:ident $kind:ident {$($more:ident)?};)*) => {$(
        fn $method(&self, given: $builder<'_, $instrument<$value>>) -> $instrument<$value> {
            let tally = self.log.tally(&given.name, MetricKind::$kind);
            let mut builder = self.sdk.$method(given.name);
            builder.description = given.description;
            builder.unit = given.unit;
            $(builder.$more = given.$more;)?
            let sdk = builder.build();
            let bindable = sdk.clone();
            $instrument::new(Arc::new(CountingInstrument::<$value> {
                tally,
                measure: Box::new(move |value, attributes| sdk.$record(value, attributes)),
                bind: Box::new(move |attributes| {
                    let bound = bindable.bind(attributes);
                    Box::new(move |value| bound.$record(value))
                }),
            }))
        }
    )*};
}

/// Observable instruments measure when the reader collects, so there is nothing to count.
macro_rules! observed {
    ($($method:ident: $instrument:ident<$value:ty>;)*) => {$(
        fn $method(
            &self,
            given: AsyncInstrumentBuilder<'_, $instrument<$value>, $value>,
        ) -> $instrument<$value> {
            let mut builder = self.sdk.$method(given.name);
            builder.description = given.description;
            builder.unit = given.unit;
            builder.callbacks = given.callbacks;
            builder.build()
        }
    )*};
}

impl InstrumentProvider for CountingInstrumentProvider {
    counted! {
        u64_counter: InstrumentBuilder Counter<u64> add Counter {};
        f64_counter: InstrumentBuilder Counter<f64> add Counter {};
        i64_up_down_counter: InstrumentBuilder UpDownCounter<i64> add UpDownCounter {};
        f64_up_down_counter: InstrumentBuilder UpDownCounter<f64> add UpDownCounter {};
        u64_gauge: InstrumentBuilder Gauge<u64> record Gauge {};
        i64_gauge: InstrumentBuilder Gauge<i64> record Gauge {};
        f64_gauge: InstrumentBuilder Gauge<f64> record Gauge {};
        u64_histogram: HistogramBuilder Histogram<u64> record Histogram {boundaries};
        f64_histogram: HistogramBuilder Histogram<f64> record Histogram {boundaries};
    }

    observed! {
        u64_observable_counter: ObservableCounter<u64>;
        f64_observable_counter: ObservableCounter<f64>;
        i64_observable_up_down_counter: ObservableUpDownCounter<i64>;
        f64_observable_up_down_counter: ObservableUpDownCounter<f64>;
        u64_observable_gauge: ObservableGauge<u64>;
        i64_observable_gauge: ObservableGauge<i64>;
        f64_observable_gauge: ObservableGauge<f64>;
    }
}

impl fmt::Debug for CountingInstrumentProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountingInstrumentProvider").finish_non_exhaustive()
    }
}
