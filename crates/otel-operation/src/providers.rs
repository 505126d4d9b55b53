//! The tracer and meter providers of an instrumentation: the global ones, or those that its user sets.
//!
//! Follows the [library guidelines of the OpenTelemetry
//! specification](https://opentelemetry.io/docs/specs/otel/library-guidelines/): the global providers by default,
//! others on request.

use std::fmt;
use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;

use crate::global_provider::{ErasedProvider, erase};
use crate::metrics::LazyInstruments;
use crate::tracer::Tracer;

/// The providers of an instrumentation. Default: the global ones.
#[derive(Clone, Default)]
pub struct Providers {
    tracer: Option<ErasedProvider>,
    meter: Option<Arc<dyn MeterProvider + Send + Sync>>,
}

impl Providers {
    /// Starts spans with `provider`. Default: the global tracer provider.
    pub fn set_tracer_provider<P>(&mut self, provider: &P)
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        self.tracer = Some(erase(provider.clone()));
    }

    /// Creates instruments with `provider`. Default: the global meter provider.
    pub fn set_meter_provider<P>(&mut self, provider: &P)
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.meter = Some(Arc::new(provider.clone()));
    }

    /// Returns the tracer of this scope.
    #[must_use]
    pub fn tracer(&self, scope: InstrumentationScope) -> Tracer {
        match &self.tracer {
            Some(provider) => Tracer::erased(provider(scope)),
            None => Tracer::global(scope),
        }
    }

    /// Returns the instruments of this scope, which `create` creates on first use.
    #[must_use]
    pub fn instruments<I>(&self, scope: InstrumentationScope, create: fn(&Meter) -> I) -> LazyInstruments<I> {
        match &self.meter {
            Some(provider) => LazyInstruments::new(Arc::clone(provider), scope, create),
            None => LazyInstruments::global(scope, create),
        }
    }
}

/// Defines the methods `with_tracer_provider` and `with_meter_provider` of options or of a builder with a field `providers`. For
/// the crates of this workspace.
#[doc(hidden)]
#[macro_export]
macro_rules! with_providers {
    () => {
        /// Uses this tracer provider instead of the global one.
        #[must_use]
        pub fn with_tracer_provider<P>(mut self, provider: &P) -> Self
        where
            P: ::opentelemetry::trace::TracerProvider + Clone + Send + Sync + 'static,
            P::Tracer: Send + Sync + 'static,
            <P::Tracer as ::opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
        {
            self.providers.set_tracer_provider(provider);
            self
        }

        /// Uses this meter provider instead of the global one.
        #[must_use]
        pub fn with_meter_provider<P>(mut self, provider: &P) -> Self
        where
            P: ::opentelemetry::metrics::MeterProvider + Clone + Send + Sync + 'static,
        {
            self.providers.set_meter_provider(provider);
            self
        }
    };
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = |given| if given { "given" } else { "global" };
        f.debug_struct("Providers")
            .field("tracer", &source(self.tracer.is_some()))
            .field("meter", &source(self.meter.is_some()))
            .finish()
    }
}
