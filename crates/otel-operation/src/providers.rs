//! Which providers an instrumentation records into: the global ones, or those that its user has given.
//!
//! Follows the [rule of the OpenTelemetry
//! specification](https://opentelemetry.io/docs/specs/otel/library-guidelines/) that instrumentation takes the global
//! providers by default and can be given others.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, global};

use crate::metrics::Instruments;
use crate::tracer::Tracer;

/// Makes a tracer for a scope: what is left of a provider when its type is gone.
type MakeTracer = Arc<dyn Fn(InstrumentationScope) -> Tracer + Send + Sync>;

/// The global provider with its type, if it was set here.
static GLOBAL: RwLock<Option<MakeTracer>> = RwLock::new(None);

/// Sets OpenTelemetry's global tracer provider, and lets all operations of this crate reach it without the boxes that
/// the API puts around the tracer and around each span: an allocation and some 300 instructions less for each span.
///
/// Set another one by this function as well: one that is set by OpenTelemetry's `global` alone is then not seen here.
pub fn set_tracer_provider<P>(provider: P)
where
    P: TracerProvider + Clone + Send + Sync + 'static,
    P::Tracer: Send + Sync + 'static,
    <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
{
    *GLOBAL.write().unwrap_or_else(PoisonError::into_inner) = Some(make(provider.clone()));
    global::set_tracer_provider(provider);
}

/// A tracer of the global provider, if that was set by [`set_tracer_provider`].
pub(crate) fn global_tracer(scope: &InstrumentationScope) -> Option<Tracer> {
    let global = GLOBAL.read().unwrap_or_else(PoisonError::into_inner);
    global.as_ref().map(|make| make(scope.clone()))
}

fn make<P>(provider: P) -> MakeTracer
where
    P: TracerProvider + Send + Sync + 'static,
    P::Tracer: Send + Sync + 'static,
    <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
{
    Arc::new(move |scope| Tracer::new(&provider, scope))
}

/// The providers of an instrumentation, global until others are given.
#[derive(Clone, Default)]
pub struct Providers {
    tracer: Option<MakeTracer>,
    meter: Option<Arc<dyn MeterProvider + Send + Sync>>,
}

impl Providers {
    /// Takes spans from this provider in place of the global one.
    pub fn set_tracer_provider<P>(&mut self, provider: &P)
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        self.tracer = Some(make(provider.clone()));
    }

    /// Takes instruments from this provider in place of the global one.
    pub fn set_meter_provider<P>(&mut self, provider: &P)
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.meter = Some(Arc::new(provider.clone()));
    }

    /// The tracer of this scope.
    #[must_use]
    pub fn tracer(&self, scope: InstrumentationScope) -> Tracer {
        match &self.tracer {
            Some(make) => make(scope),
            None => Tracer::global(scope),
        }
    }

    /// The instruments of this scope.
    #[must_use]
    pub fn instruments<I>(&self, scope: InstrumentationScope, create: fn(&Meter) -> I) -> Instruments<I> {
        match &self.meter {
            Some(provider) => Instruments::new(Arc::clone(provider), scope, create),
            None => Instruments::global(scope, create),
        }
    }
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

/// The options that give a layer its providers and its propagator, for a type with `fn edit(self, …)` over options that
/// have `providers` and `propagation`. For the transports of this family.
#[doc(hidden)]
#[macro_export]
macro_rules! provider_options {
    () => {
        /// Takes spans from this provider in place of the global one.
        #[must_use]
        pub fn with_tracer_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::trace::TracerProvider + Clone + Send + Sync + 'static,
            P::Tracer: Send + Sync + 'static,
            <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
        {
            self.edit(|options| options.providers.set_tracer_provider(provider))
        }

        /// Takes instruments from this provider in place of the global one.
        #[must_use]
        pub fn with_meter_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::metrics::MeterProvider + Clone + Send + Sync + 'static,
        {
            self.edit(|options| options.providers.set_meter_provider(provider))
        }

        /// Reads and writes context with this propagator in place of the global one.
        #[must_use]
        pub fn with_propagator<P>(self, propagator: P) -> Self
        where
            P: opentelemetry::propagation::TextMapPropagator + Send + Sync + 'static,
        {
            self.edit(|options| options.propagation = otel_propagation::PropagatorHandle::new(propagator))
        }
    };
}
