//! Metric instruments, created on first use, and instruments with a fixed attribute set.
//!
//! Follows the [OpenTelemetry metrics API](https://opentelemetry.io/docs/specs/otel/metrics/api/). With the feature
//! `bound-metrics`, and once the application has declared an SDK that has bound instruments, a series is bound at its first
//! measurement, because a handle that is bound but never used exports
//! a data point of zero.

use std::fmt;
use std::sync::{Arc, OnceLock};

#[cfg(feature = "bound-metrics")]
use opentelemetry::metrics::{BoundCounter, BoundHistogram, BoundUpDownCounter};
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry::{InstrumentationScope, KeyValue, global};

#[cfg(feature = "bound-metrics")]
use crate::declarations::has_bound_metrics;

/// Bucket boundaries that the [semantic
/// conventions](https://opentelemetry.io/docs/specs/semconv/http/http-metrics/) advise for durations, in seconds.
pub const DURATION_BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

enum Source {
    Global(InstrumentationScope),
    Given(Arc<dyn MeterProvider + Send + Sync>, InstrumentationScope),
}

/// The instruments `I` of an instrumentation, created on first use.
///
/// The global provider is looked up at each use until it is no longer the API's no-op, because layers are often built
/// before the SDK is set up. Until then nothing is recorded.
pub struct LazyInstruments<I> {
    source: Source,
    create: fn(&Meter) -> I,
    created: OnceLock<I>,
}

impl<I> LazyInstruments<I> {
    /// Uses the global meter provider.
    #[must_use]
    pub fn global(scope: InstrumentationScope, create: fn(&Meter) -> I) -> Self {
        Self { source: Source::Global(scope), create, created: OnceLock::new() }
    }

    /// Uses `provider`.
    #[must_use]
    pub fn new(
        provider: Arc<dyn MeterProvider + Send + Sync>,
        scope: InstrumentationScope,
        create: fn(&Meter) -> I,
    ) -> Self {
        Self { source: Source::Given(provider, scope), create, created: OnceLock::new() }
    }

    /// Returns the instruments, or `None` while the global meter provider is the API's no-op. A provider that the user set is
    /// used as it is.
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
        if matches!(self.source, Source::Global(_)) && is_noop(&*provider) {
            return None;
        }
        Some(self.created.get_or_init(|| (self.create)(&provider.meter_with_scope(scope.clone()))))
    }
}

/// Returns true for the API's no-op provider, which is zero-sized and not public: a global provider that exports needs state.
///
/// One that has no state of its own, because it forwards to a static, has to be set by the `with_*` methods.
fn is_noop(global: &dyn MeterProvider) -> bool {
    size_of_val(global) == 0
}

/// Returns the bound instrument of a series, if the application has declared an SDK that records through it.
#[cfg(feature = "bound-metrics")]
#[inline]
fn bound<B>(slot: &OnceLock<B>, bind: impl FnOnce() -> B) -> Option<&B> {
    slot.get().or_else(|| has_bound_metrics().then(|| slot.get_or_init(bind)))
}

impl<I> fmt::Debug for LazyInstruments<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyInstruments")
            .field("created", &self.created.get().is_some())
            .finish_non_exhaustive()
    }
}

/// A histogram of seconds or bytes with one fixed set of attributes.
#[derive(Debug)]
pub struct AttributedHistogram<T> {
    histogram: Histogram<T>,
    attributes: Box<[KeyValue]>,
    #[cfg(feature = "bound-metrics")]
    bound: OnceLock<BoundHistogram<T>>,
}

impl<T: Clone> AttributedHistogram<T> {
    /// Creates the series of `histogram` with these attributes.
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
        if let Some(bound) = bound(&self.bound, || self.histogram.bind(&self.attributes)) {
            return bound.record(value);
        }
        self.histogram.record(value, &self.attributes);
    }
}

/// A counter with one fixed set of attributes.
#[derive(Debug)]
pub struct AttributedCounter {
    counter: Counter<u64>,
    attributes: Box<[KeyValue]>,
    #[cfg(feature = "bound-metrics")]
    bound: OnceLock<BoundCounter<u64>>,
}

impl AttributedCounter {
    /// Creates the series of `counter` with these attributes.
    #[must_use]
    pub fn new(counter: &Counter<u64>, attributes: Vec<KeyValue>) -> Self {
        Self {
            counter: counter.clone(),
            attributes: attributes.into(),
            #[cfg(feature = "bound-metrics")]
            bound: OnceLock::new(),
        }
    }

    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        #[cfg(feature = "bound-metrics")]
        if let Some(bound) = bound(&self.bound, || self.counter.bind(&self.attributes)) {
            return bound.add(count);
        }
        self.counter.add(count, &self.attributes);
    }
}

/// An up-down counter with one fixed set of attributes.
#[derive(Debug)]
pub struct AttributedUpDownCounter {
    counter: UpDownCounter<i64>,
    attributes: Box<[KeyValue]>,
    #[cfg(feature = "bound-metrics")]
    bound: OnceLock<BoundUpDownCounter<i64>>,
}

impl AttributedUpDownCounter {
    /// Creates the series of `counter` with these attributes.
    #[must_use]
    pub fn new(counter: &UpDownCounter<i64>, attributes: Vec<KeyValue>) -> Self {
        Self {
            counter: counter.clone(),
            attributes: attributes.into(),
            #[cfg(feature = "bound-metrics")]
            bound: OnceLock::new(),
        }
    }

    /// Adds `delta`, which may be negative.
    #[inline]
    pub fn add(&self, delta: i64) {
        #[cfg(feature = "bound-metrics")]
        if let Some(bound) = bound(&self.bound, || self.counter.bind(&self.attributes)) {
            return bound.add(delta);
        }
        self.counter.add(delta, &self.attributes);
    }
}
