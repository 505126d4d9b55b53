//! The global tracer provider with its type, which OpenTelemetry's own global has lost.

use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry::{InstrumentationScope, global};

use crate::span::StartSpan;

/// A type-erased tracer provider.
pub(crate) type ErasedProvider = Arc<dyn Fn(InstrumentationScope) -> Arc<dyn StartSpan> + Send + Sync>;

/// The global provider, if it was set by [`set_tracer_provider`].
static GLOBAL: RwLock<Option<ErasedProvider>> = RwLock::new(None);

/// Sets OpenTelemetry's global tracer provider, and lets the operations of this crate use it without the API's boxed
/// tracer and spans, which saves one allocation and some 300 instructions per span.
///
/// Replace the provider through this function, too: after the first call, operations of this crate ignore providers
/// set only through [`opentelemetry::global`].
pub fn set_tracer_provider<P>(provider: P)
where
    P: TracerProvider + Clone + Send + Sync + 'static,
    P::Tracer: Send + Sync + 'static,
    <P::Tracer as Tracer>::Span: Send + Sync + 'static,
{
    *GLOBAL.write().unwrap_or_else(PoisonError::into_inner) = Some(erase(provider.clone()));
    global::set_tracer_provider(provider);
}

/// Returns a tracer of the global provider if it was set by [`set_tracer_provider`].
pub(crate) fn global_tracer(scope: &InstrumentationScope) -> Option<Arc<dyn StartSpan>> {
    let global = GLOBAL.read().unwrap_or_else(PoisonError::into_inner);
    global.as_ref().map(|make| make(scope.clone()))
}

/// Erases the type of a provider.
pub(crate) fn erase<P>(provider: P) -> ErasedProvider
where
    P: TracerProvider + Send + Sync + 'static,
    P::Tracer: Send + Sync + 'static,
    <P::Tracer as Tracer>::Span: Send + Sync + 'static,
{
    Arc::new(move |scope| Arc::new(provider.tracer_with_scope(scope)))
}
