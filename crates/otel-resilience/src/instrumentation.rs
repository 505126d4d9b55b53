//! The instrumentation: tracer and instruments. One is global.
//!
//! Follows the [library guidelines of the OpenTelemetry
//! specification](https://opentelemetry.io/docs/specs/otel/library-guidelines/): the global providers by default,
//! others on request.

use std::sync::{Arc, LazyLock};

use opentelemetry::InstrumentationScope;
use otel_operation::{LazyInstruments, Providers, Tracer};

use crate::metrics::Instruments;

/// The options of a [`ResilienceInstrumentation`]. Default: the global providers, which are looked up at first use and can
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

/// The instrumentation of policies with [`Options`]. Cloning is cheap. Policies that are given none use a global one, with
/// the default options.
#[derive(Clone, Debug)]
pub struct ResilienceInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tracer: Tracer,
    instruments: LazyInstruments<Instruments>,
}

impl ResilienceInstrumentation {
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
        static GLOBAL: LazyLock<ResilienceInstrumentation> =
            LazyLock::new(|| ResilienceInstrumentation::new(Options::new()));
        &GLOBAL
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// Returns the instruments, if there is a meter provider.
    pub(crate) fn instruments(&self) -> Option<&Instruments> {
        self.0.instruments.get()
    }
}
