//! The instrumentation: tracer and instruments. One is global.
//!
//! Follows the [library guidelines of the OpenTelemetry
//! specification](https://opentelemetry.io/docs/specs/otel/library-guidelines/): the global providers by default,
//! others on request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use opentelemetry::InstrumentationScope;
use otel_operation::{LazyInstruments, Providers, Tracer};

use crate::metrics::{Instruments, Observed};

/// The options of a [`DiscoveryInstrumentation`]. Default: the global providers, which are looked up at first use and can
/// therefore be set later.
#[derive(Clone, Debug, Default)]
pub struct Options {
    providers: Providers,
}

impl Options {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    otel_operation::with_providers!();
}

/// The instrumentation of watches with [`Options`]. Cloning is cheap. Watches that are given none use a global one, with
/// the default options.
#[derive(Clone, Debug)]
pub struct DiscoveryInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    #[cfg_attr(
        not(any(feature = "consul", feature = "dns", feature = "etcd")),
        expect(dead_code, reason = "only look-ups that go out are spans")
    )]
    tracer: Tracer,
    instruments: LazyInstruments<Instruments>,
}

impl DiscoveryInstrumentation {
    /// Creates an instrumentation.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let instruments = options.providers.instruments(scope.clone(), Instruments::new);
        Self(Arc::new(Inner { tracer: options.providers.tracer(scope), instruments }))
    }

    /// Returns the instrumentation with the global providers.
    #[must_use]
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<DiscoveryInstrumentation> =
            LazyLock::new(|| DiscoveryInstrumentation::new(Options::new()));
        &GLOBAL
    }

    /// Adds a source of the gauges, once, and once there is a meter provider.
    #[inline]
    pub(crate) fn observe_once<O: Observed + 'static>(&self, is_observed: &AtomicBool, source: &Arc<O>) {
        if !is_observed.load(Ordering::Relaxed)
            && let Some(instruments) = self.instruments()
            && !is_observed.swap(true, Ordering::Relaxed)
        {
            let source: Arc<dyn Observed> = Arc::<O>::clone(source);
            instruments.observe(Arc::downgrade(&source));
        }
    }

    #[cfg(any(feature = "consul", feature = "dns", feature = "etcd"))]
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// Returns the instruments, if there is a meter provider.
    pub(crate) fn instruments(&self) -> Option<&Instruments> {
        self.0.instruments.get()
    }
}
