//! The type-erased tracer, looked up on first use.
//!
//! Follows the [OpenTelemetry tracing API, "Span
//! creation"](https://opentelemetry.io/docs/specs/otel/trace/api/#span-creation).

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, Tracer as ApiTracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use crate::declarations::has_parent_based_sampler;
use crate::global_provider::{global_tracer, is_set};
use crate::requested_ids::take_requested_span_id;
use crate::span::{OutboundSpan, RANDOM, SpanStart, StartSpan, Started, StartedSpan, start_with};

/// The calls of [`Tracer::is_noop`] of which one looks the global provider up.
const LOOKED_UP: u32 = 32;

enum Source {
    Global { scope: InstrumentationScope, tracer: OnceLock<Arc<dyn StartSpan>>, asked: AtomicU32 },
    Given(Arc<dyn StartSpan>),
}

/// The type-erased tracer of an instrumentation.
///
/// The global provider is looked up at each use until it is no longer the API's no-op, and then kept, because layers are
/// often built before the SDK is set up. A provider set by [`set_tracer_provider`](crate::set_tracer_provider) is used without
/// the API's boxed spans.
pub struct Tracer(Source);

impl Tracer {
    /// Uses the global tracer provider.
    #[must_use]
    pub fn global(scope: InstrumentationScope) -> Self {
        Self(Source::Global { scope, tracer: OnceLock::new(), asked: AtomicU32::new(0) })
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

    /// Returns true while the global tracer provider is the API's no-op, for callers that then leave out an operation, because
    /// no meter provider is installed either. A provider that the user set is never one.
    ///
    /// Looking the global provider up takes some 400 instructions, more than the rest of a message without an SDK. The first call
    /// does it, then every 32nd; a provider set by [`set_tracer_provider`](crate::set_tracer_provider) is seen at once. The no-op
    /// is thus assumed for 31 operations at most. [`start`](Self::start) always looks the provider up.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        match &self.0 {
            Source::Given(_) => false,
            Source::Global { scope, tracer, asked } => {
                let is_noop = || {
                    let is_assumed = !asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOKED_UP);
                    (is_assumed && !is_set()) || look_up(scope, tracer).is_none()
                };
                tracer.get().is_none() && is_noop()
            }
        }
    }

    /// Starts a span as a child of `parent`.
    ///
    /// `start` and `attributes` are called at most once: the former only if a sampler is asked, the latter only if it receives the
    /// attributes or the span records. No span is started where `parent` or the current context suppresses telemetry.
    #[inline]
    pub fn start(
        &self,
        start: impl FnOnce() -> SpanStart,
        parent: &Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> StartedSpan {
        if is_suppressed(parent) {
            return StartedSpan::suppressed(parent);
        }
        StartedSpan::new(parent, self.start_any(start, parent, attributes))
    }

    /// Starts a span as a child of a remote parent that is a span context alone, if the span is known to be dropped: then
    /// neither the SDK is asked nor a context with the parent is made. Otherwise it returns `None`, and
    /// [`start`](Self::start) starts the span.
    #[inline]
    pub fn start_dropped(&self, parent: &SpanContext) -> Option<StartedSpan> {
        let identity = self.dropped(parent)?;
        if Context::is_current_telemetry_suppressed() {
            return None;
        }
        Some(StartedSpan::new(&Context::new(), Started::Dropped(identity)))
    }

    /// Starts the span of a message as a child of `parent`, as [`start`](Self::start) does.
    #[inline]
    pub fn start_outbound<'p>(
        &self,
        start: impl FnOnce() -> SpanStart,
        parent: &'p Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> OutboundSpan<'p> {
        if is_suppressed(parent) {
            return OutboundSpan::suppressed(parent);
        }
        OutboundSpan::new(parent, self.start_any(start, parent, attributes))
    }

    #[inline]
    fn start_any(
        &self,
        start: impl FnOnce() -> SpanStart,
        parent: &Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Started {
        if let Some(dropped) = self.dropped(parent.span().span_context()) {
            return Started::Dropped(dropped);
        }
        let tracer = match &self.0 {
            Source::Given(tracer) => Some(tracer),
            Source::Global { scope, tracer, .. } => tracer.get().or_else(|| look_up(scope, tracer)),
        };
        tracer.map_or(Started::None, |tracer| start_with(&**tracer, start(), parent, attributes))
    }

    /// Returns the identity of a span that the global provider's sampler is declared to drop
    /// ([`declare_parent_based_sampler`](crate::declare_parent_based_sampler)), without asking the SDK.
    #[inline]
    fn dropped(&self, parent: &SpanContext) -> Option<SpanContext> {
        let is_known = has_parent_based_sampler() && matches!(self.0, Source::Global { .. });
        if !is_known || !parent.is_valid() || parent.is_sampled() {
            return None;
        }
        let id = take_requested_span_id().unwrap_or_else(|| SpanId::from(fastrand::u64(1..)));
        let flags = parent.trace_flags() & RANDOM;
        Some(SpanContext::new(parent.trace_id(), id, flags, false, parent.trace_state().clone()))
    }
}

#[inline]
fn is_suppressed(parent: &Context) -> bool {
    parent.is_telemetry_suppressed() || Context::is_current_telemetry_suppressed()
}

/// Keeps the global tracer; returns `None` while it is the API's no-op.
#[cold]
fn look_up<'a>(
    scope: &InstrumentationScope,
    cache: &'a OnceLock<Arc<dyn StartSpan>>,
) -> Option<&'a Arc<dyn StartSpan>> {
    // A concurrent call that wins the race stores an equal tracer.
    global_tracer(scope).map(|tracer| cache.get_or_init(|| tracer))
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Global { scope, .. } => f.debug_tuple("Global").field(&scope.name()).finish(),
            Source::Given(_) => f.write_str("Given"),
        }
    }
}
