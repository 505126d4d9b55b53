//! The type-erased tracer, looked up on first use.
//!
//! Follows the [OpenTelemetry tracing API, "Span
//! creation"](https://opentelemetry.io/docs/specs/otel/trace/api/#span-creation).

use std::fmt;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{Tracer as ApiTracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};

use crate::global_provider::global_tracer;
use crate::span::{SpanStart, StartSpan, StartedSpan, start_with};

enum Source {
    Global { scope: InstrumentationScope, tracer: OnceLock<Arc<dyn StartSpan>> },
    Given(Arc<dyn StartSpan>),
}

/// The type-erased tracer of an instrumentation.
///
/// The global provider is looked up at each use until it starts a span, and then kept, because layers are often built
/// before the SDK is set up. A provider set by [`set_tracer_provider`](crate::set_tracer_provider) is used without
/// the API's boxed spans.
pub struct Tracer(Source);

impl Tracer {
    /// Uses the global tracer provider.
    #[must_use]
    pub fn global(scope: InstrumentationScope) -> Self {
        Self(Source::Global { scope, tracer: OnceLock::new() })
    }

    /// Uses `provider`.
    #[must_use]
    pub fn new<P>(provider: &P, scope: InstrumentationScope) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as ApiTracer>::Span: Send + Sync + 'static,
    {
        Self(Source::Given(Arc::new(provider.tracer_with_scope(scope))))
    }

    pub(crate) fn erased(tracer: Arc<dyn StartSpan>) -> Self {
        Self(Source::Given(tracer))
    }

    /// Starts a span as a child of `parent`.
    ///
    /// `attributes` is called at most once, and only if a sampler receives the attributes or the span records.
    #[inline]
    pub fn start(
        &self,
        start: SpanStart,
        parent: &Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> StartedSpan {
        let (scope, cache) = match &self.0 {
            Source::Given(tracer) => return start_with(&**tracer, start, parent, true, attributes),
            Source::Global { scope, tracer } => (scope, tracer),
        };
        if let Some(tracer) = cache.get() {
            return start_with(&**tracer, start, parent, true, attributes);
        }
        if let Some(tracer) = global_tracer(scope) {
            return start_with(&**cache.get_or_init(|| tracer), start, parent, true, attributes);
        }
        // Until it has started a span, the provider is probably the API's no-op, which would discard attributes.
        let tracer = global::tracer_with_scope(scope.clone());
        let started = start_with(&tracer, start, parent, false, attributes);
        if started.own {
            // A concurrent call that wins the race stores an equal tracer.
            let _ = cache.set(Arc::new(tracer));
        }
        started
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Global { scope, .. } => f.debug_tuple("Global").field(&scope.name()).finish(),
            Source::Given(_) => f.write_str("Given"),
        }
    }
}
