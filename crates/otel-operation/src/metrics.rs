//! Where an operation's measurements go: instruments looked up late, and attribute sets prepared once.
//!
//! Follows the [OpenTelemetry metrics API](https://opentelemetry.io/docs/specs/otel/metrics/api/). With the feature
//! `bound-metrics` a series is bound at its first measurement; a handle that was bound and never recorded would
//! export a point of zero.

use std::fmt;
use std::sync::{Arc, OnceLock};

#[cfg(feature = "bound-metrics")]
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter};
use opentelemetry::metrics::{Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry::{InstrumentationScope, KeyValue, global};

/// The bucket boundaries that the conventions advise for durations, in seconds.
pub const DURATION_BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

enum Source {
    Global(InstrumentationScope),
    Given(Arc<dyn MeterProvider + Send + Sync>, InstrumentationScope),
}

/// The instruments `I` of an instrumentation, created when they are first needed.
///
/// The global provider is looked up at each use until it is a real one: layers are often built before the
/// SDK is set up. Until then nothing is recorded, and nothing is prepared either.
pub struct Instruments<I> {
    source: Source,
    create: fn(&Meter) -> I,
    created: OnceLock<I>,
}

impl<I> Instruments<I> {
    /// Instruments of the global meter provider.
    #[must_use]
    pub fn global(scope: InstrumentationScope, create: fn(&Meter) -> I) -> Self {
        Self { source: Source::Global(scope), create, created: OnceLock::new() }
    }

    /// Instruments of this provider.
    #[must_use]
    pub fn new(
        provider: Arc<dyn MeterProvider + Send + Sync>,
        scope: InstrumentationScope,
        create: fn(&Meter) -> I,
    ) -> Self {
        Self { source: Source::Given(provider, scope), create, created: OnceLock::new() }
    }

    /// The instruments, or `None` as long as there is no meter provider.
    #[inline]
    pub fn get(&self) -> Option<&I> {
        match self.created.get() {
            Some(instruments) => Some(instruments),
            None => self.create(),
        }
    }

    #[cold]
    fn create(&self) -> Option<&I> {
        let (provider, scope) = match &self.source {
            Source::Global(scope) => (global::meter_provider(), scope),
            Source::Given(provider, scope) => (Arc::clone(provider), scope),
        };
        // A provider without any state can hand out nothing but no-ops: it is the API's default.
        if size_of_val(&*provider) == 0 {
            return None;
        }
        Some(self.created.get_or_init(|| (self.create)(&provider.meter_with_scope(scope.clone()))))
    }
}

impl<I> fmt::Debug for Instruments<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instruments").field("created", &self.created.get().is_some()).finish_non_exhaustive()
    }
}

/// A histogram of seconds or bytes with one fixed set of attributes.
#[derive(Debug)]
pub struct HistogramSeries<T> {
    histogram: Histogram<T>,
    attributes: Box<[KeyValue]>,
    #[cfg(feature = "bound-metrics")]
    bound: OnceLock<BoundHistogram<T>>,
}

impl<T: Clone> HistogramSeries<T> {
    /// The series of `histogram` that has these attributes.
    #[must_use]
    pub fn new(histogram: &Histogram<T>, attributes: Vec<KeyValue>) -> Self {
        Self {
            histogram: histogram.clone(),
            attributes: attributes.into(),
            #[cfg(feature = "bound-metrics")]
            bound: OnceLock::new(),
        }
    }

    /// Records one value.
    #[inline]
    pub fn record(&self, value: T) {
        #[cfg(feature = "bound-metrics")]
        self.bound.get_or_init(|| self.histogram.bind(&self.attributes)).record(value);
        #[cfg(not(feature = "bound-metrics"))]
        self.histogram.record(value, &self.attributes);
    }
}

/// An up-down counter with one fixed set of attributes.
#[derive(Debug)]
pub struct UpDownSeries {
    counter: UpDownCounter<i64>,
    attributes: Box<[KeyValue]>,
    #[cfg(feature = "bound-metrics")]
    bound: OnceLock<BoundUpDownCounter<i64>>,
}

impl UpDownSeries {
    /// The series of `counter` that has these attributes.
    #[must_use]
    pub fn new(counter: &UpDownCounter<i64>, attributes: Vec<KeyValue>) -> Self {
        Self {
            counter: counter.clone(),
            attributes: attributes.into(),
            #[cfg(feature = "bound-metrics")]
            bound: OnceLock::new(),
        }
    }

    /// Adds `delta`.
    #[inline]
    pub fn add(&self, delta: i64) {
        #[cfg(feature = "bound-metrics")]
        self.bound.get_or_init(|| self.counter.bind(&self.attributes)).add(delta);
        #[cfg(not(feature = "bound-metrics"))]
        self.counter.add(delta, &self.attributes);
    }
}
