//! Where an operation's span comes from: the tracer, erased, looked up late, and started at the least cost.
//!
//! Follows the [OpenTelemetry tracing API](https://opentelemetry.io/docs/specs/otel/trace/api/#span-creation) ("Span
//! creation"), and its rule that an instrumentation library without an SDK passes the received context on.

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

/// The W3C level 2 flag that says that a trace id is random.
const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// Whether samplers are given a span's attributes also where they are unlikely to look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplerInput {
    /// Attributes are built before the sampler runs where the parent is sampled or absent. Under a parent
    /// that is not sampled they are built only if the span records nevertheless.
    #[default]
    Cheap,
    /// Attributes are always built before the sampler runs: for samplers that look at attributes under
    /// parents that are not sampled.
    Always,
}

/// What a span starts with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpanStart {
    builder: SpanBuilder,
    sampler_input: SamplerInput,
}

impl SpanStart {
    /// A span of this name and kind, that starts at `time`.
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

    /// Links the span to another. A link to an invalid context is left out.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        if link.span_context.is_valid() {
            self.builder.links.get_or_insert_default().push(link);
        }
        self
    }

    /// Chooses what samplers see.
    #[must_use]
    #[inline]
    pub fn with_sampler_input(mut self, input: SamplerInput) -> Self {
        self.sampler_input = input;
        self
    }
}

/// A started span, inside the context in which its operation's code runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) context: Context,
    pub(crate) recording: bool,
    /// False where there is no SDK (or it is suppressed or stopped): the context is then the parent's.
    pub(crate) own: bool,
}

/// A tracer without its type. `BoxedTracer` would box each span twice.
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
            // Suppressed, stopped, or the API's no-op tracer, which answers with the parent.
            return Started { context: parent.clone(), recording: false, own: false };
        }
        if span.is_recording() {
            return Started { context: parent.with_span(span), recording: true, own: true };
        }
        // A span that nobody will see needs to carry only its identity, which is one allocation, not two.
        // The SDK resets the flags of a dropped span; the random bit belongs to the trace, so it is kept.
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

/// Starts the spans of an instrumentation.
///
/// The global provider is looked up at each use until it is a real one, and then kept: layers are often
/// built before the SDK is set up. One that was set by [`set_tracer_provider`](crate::set_tracer_provider) is
/// reached without the API's boxes.
pub struct Tracer(Source);

impl Tracer {
    /// Spans come from the global tracer provider.
    #[must_use]
    pub fn global(scope: InstrumentationScope) -> Self {
        Self(Source::Global { scope, tracer: OnceLock::new() })
    }

    /// Spans come from this provider.
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
        // As long as no span has come out of it, the provider is probably the API's no-op, for which
        // attributes would be built in vain.
        let tracer = global::tracer_with_scope(scope.clone());
        let started = start_with(&tracer, start, parent, false, attributes);
        if started.own {
            // Losing the race to another request leaves an equal tracer there.
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
