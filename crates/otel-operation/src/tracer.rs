//! The type-erased tracer, looked up on first use, and the start of spans.
//!
//! Follows the [OpenTelemetry tracing API, "Span
//! creation"](https://opentelemetry.io/docs/specs/otel/trace/api/#span-creation), and its rule that without an SDK
//! the parent's context is propagated unchanged.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, TraceFlags, Tracer as ApiTracer,
    TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};

use crate::providers;

/// The random-trace-id flag of [W3C Trace Context level
/// 2](https://www.w3.org/TR/trace-context-2/#random-trace-id-flag).
const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// The rule by which a span's attributes are built before the sampler runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplerInput {
    /// Attributes are built before the sampler runs if the parent is sampled or absent. Under an unsampled parent
    /// they are built after the sampler, only for a span that records; so are those of the first span of a global
    /// provider that may still be the API's no-op.
    #[default]
    Cheap,
    /// Attributes are always built before the sampler runs, for samplers that read them under unsampled parents.
    Always,
}

/// The name, kind, start time and links of a span to start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpanStart {
    builder: SpanBuilder,
    sampler_input: SamplerInput,
}

impl SpanStart {
    /// Creates the description of a span that starts at `time`.
    #[must_use]
    #[inline]
    pub fn new(name: impl Into<Cow<'static, str>>, kind: SpanKind, time: SystemTime) -> Self {
        let builder = SpanBuilder {
            name: name.into(),
            span_kind: Some(kind),
            start_time: Some(time),
            attributes: None,
            events: None,
            links: None,
        };
        Self { builder, sampler_input: SamplerInput::Cheap }
    }

    /// Adds a link. A link to an invalid span context is ignored.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        if link.span_context.is_valid() {
            self.builder.links.get_or_insert_default().push(link);
        }
        self
    }

    /// Sets the rule by which samplers receive attributes. Default: [`SamplerInput::Cheap`].
    #[must_use]
    #[inline]
    pub fn with_sampler_input(mut self, input: SamplerInput) -> Self {
        self.sampler_input = input;
        self
    }
}

/// A started span, in the context in which the operation's code runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) context: Context,
    pub(crate) recording: bool,
    /// `false` if no span was started (no SDK, or one that is suppressed or shut down): `context` is the parent's.
    pub(crate) own: bool,
}

/// A type-erased tracer. The API's `BoxedTracer` would box each span twice.
trait StartSpan: Send + Sync {
    fn start(&self, builder: SpanBuilder, parent: &Context) -> Started;
}

impl<T> StartSpan for T
where
    T: ApiTracer + Send + Sync,
    T::Span: Send + Sync + 'static,
{
    fn start(&self, builder: SpanBuilder, parent: &Context) -> Started {
        let span = self.build_with_context(builder, parent);
        let started = span.span_context();
        let parent_span = parent.span();
        let parent_span = parent_span.span_context();
        if !started.is_valid() || started.span_id() == parent_span.span_id() {
            // Suppressed, shut down, or the API's no-op tracer, which returns the parent's span context.
            return Started { context: parent.clone(), recording: false, own: false };
        }
        if span.is_recording() {
            return Started { context: parent.with_span(span), recording: true, own: true };
        }
        // The span context alone costs one allocation, a span that does not record two.
        // The SDK resets the flags of a dropped span; the random flag describes the trace id, so it is kept.
        let flags = if started.trace_id() == parent_span.trace_id() {
            started.trace_flags() | (parent_span.trace_flags() & RANDOM)
        } else {
            started.trace_flags()
        };
        let identity = SpanContext::new(
            started.trace_id(),
            started.span_id(),
            flags,
            false,
            started.trace_state().clone(),
        );
        Started { context: parent.with_remote_span_context(identity), recording: false, own: true }
    }
}

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

    #[inline]
    pub(crate) fn start(
        &self,
        start: SpanStart,
        parent: &Context,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Started {
        let (scope, cache) = match &self.0 {
            Source::Given(tracer) => return start_with(&**tracer, start, parent, true, attributes),
            Source::Global { scope, tracer } => (scope, tracer),
        };
        if let Some(tracer) = cache.get() {
            return start_with(&**tracer, start, parent, true, attributes);
        }
        if let Some(Self(Source::Given(tracer))) = providers::global_tracer(scope) {
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

#[inline]
fn start_with(
    tracer: &(impl StartSpan + ?Sized),
    start: SpanStart,
    parent: &Context,
    known: bool,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Started {
    let first = match start.sampler_input {
        SamplerInput::Always => true,
        SamplerInput::Cheap => {
            let parent = parent.span();
            let parent = parent.span_context();
            known && (parent.is_sampled() || !parent.is_valid())
        }
    };
    let mut builder = start.builder;
    if first {
        builder.attributes = Some(attributes());
        return tracer.start(builder, parent);
    }
    let started = tracer.start(builder, parent);
    if started.recording {
        started.context.span().set_attributes(attributes());
    }
    started
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Global { scope, .. } => f.debug_tuple("Global").field(&scope.name()).finish(),
            Source::Given(_) => f.write_str("Given"),
        }
    }
}
