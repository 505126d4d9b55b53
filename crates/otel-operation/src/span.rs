//! A span to start and a started span, and the trait behind which tracers of all types start one.
//!
//! Follows the [OpenTelemetry tracing API, "Span
//! creation"](https://opentelemetry.io/docs/specs/otel/trace/api/#span-creation), and its rule that without an SDK
//! the parent's context is propagated unchanged.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, TraceFlags, Tracer as ApiTracer,
};
use opentelemetry::{Context, KeyValue};
use otel_propagation::{HeaderWriter, PropagatorHandle};

/// The random-trace-id flag of [W3C Trace Context level
/// 2](https://www.w3.org/TR/trace-context-2/#random-trace-id-flag).
pub(crate) const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// The rule by which a span's attributes are built before the sampler runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplerAttributes {
    /// Attributes are built before the sampler runs if the parent is sampled or absent. Under an unsampled parent
    /// they are built after the sampler, only for a span that records.
    #[default]
    IfParentAllows,
    /// Attributes are always built before the sampler runs, for samplers that read them under unsampled parents.
    Always,
}

/// The name, kind, start time and links of a span to start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpanStart {
    pub(crate) builder: SpanBuilder,
    pub(crate) sampler_attributes: SamplerAttributes,
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
        Self { builder, sampler_attributes: SamplerAttributes::IfParentAllows }
    }

    /// Adds a link. A link to an invalid span context is ignored.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        if link.span_context.is_valid() {
            self.builder.links.get_or_insert_default().push(link);
        }
        self
    }

    /// Sets the rule by which samplers receive attributes. Default: [`SamplerAttributes::IfParentAllows`].
    #[must_use]
    #[inline]
    pub fn with_sampler_attributes(mut self, input: SamplerAttributes) -> Self {
        self.sampler_attributes = input;
        self
    }
}

/// A started span, in the context in which the operation's code runs.
#[derive(Debug)]
pub struct StartedSpan {
    pub(crate) context: Context,
    pub(crate) recording: bool,
    /// `false` if no span was started (no SDK, or one that is suppressed or shut down): `context` is the parent's.
    pub(crate) own: bool,
    /// `true` if telemetry is suppressed: nothing of the operation is recorded, its metrics included.
    pub(crate) suppressed: bool,
}

impl StartedSpan {
    #[inline]
    pub(crate) fn new(parent: &Context, started: Started) -> Self {
        let (context, recording) = match started {
            Started::None => return Self::none(parent),
            // The span context alone costs one allocation, a span that does not record two.
            Started::Dropped(identity) => (parent.with_remote_span_context(identity), false),
            Started::Recording(context) => (context, true),
        };
        Self { context, recording, own: true, suppressed: false }
    }

    /// Returns the result of a start that failed: no span, in the parent's context.
    #[cold]
    #[must_use]
    pub fn none(parent: &Context) -> Self {
        Self { context: parent.clone(), recording: false, own: false, suppressed: false }
    }

    /// Returns the result of a start in a scope in which [telemetry is
    /// suppressed](Context::enter_telemetry_suppressed_scope). The context suppresses it in the operation's code as well,
    /// because a context that was extracted from a message does not.
    #[cold]
    #[inline(never)]
    pub(crate) fn suppressed(parent: &Context) -> Self {
        Self { suppressed: true, ..Self::none(&parent.with_telemetry_suppressed()) }
    }

    /// Returns true if a span was started; without an SDK the context is the parent's.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Returns true if the span records.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.recording
    }

    /// Returns the context with the span.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }
}

/// The result of a tracer's start.
pub(crate) enum Started {
    /// No span: suppressed, shut down, or without an SDK.
    None,
    /// The identity of a span that does not record.
    Dropped(SpanContext),
    /// The parent's context with a span that records.
    Recording(Context),
}

/// A type-erased tracer. The API's `BoxedTracer` would box each span twice.
pub(crate) trait StartSpan: Send + Sync {
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
            return Started::None;
        }
        if span.is_recording() {
            return Started::Recording(parent.with_span(span));
        }
        // The SDK resets the flags of a dropped span; the random flag describes the trace id, so it is kept.
        let flags = if started.trace_id() == parent_span.trace_id() {
            started.trace_flags() | (parent_span.trace_flags() & RANDOM)
        } else {
            started.trace_flags()
        };
        let state = started.trace_state().clone();
        Started::Dropped(SpanContext::new(started.trace_id(), started.span_id(), flags, false, state))
    }
}

#[inline]
pub(crate) fn start_with(
    tracer: &(impl StartSpan + ?Sized),
    start: SpanStart,
    parent: &Context,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Started {
    let first = match start.sampler_attributes {
        SamplerAttributes::Always => true,
        SamplerAttributes::IfParentAllows => {
            let parent = parent.span();
            let parent = parent.span_context();
            parent.is_sampled() || !parent.is_valid()
        }
    };
    let mut builder = start.builder;
    if first {
        builder.attributes = Some(attributes());
        return tracer.start(builder, parent);
    }
    let started = tracer.start(builder, parent);
    if let Started::Recording(context) = &started {
        context.span().set_attributes(attributes());
    }
    started
}

/// A span that was started for a message, before it is an operation: its context is written into the message's headers. Where it
/// does not record, no [`Context`] with it is made, which would cost more than the writing.
pub struct OutboundSpan<'p> {
    parent: &'p Context,
    started: Started,
    suppressed: bool,
}

impl<'p> OutboundSpan<'p> {
    /// Returns the result of a start that failed.
    pub(crate) fn none(parent: &'p Context) -> Self {
        Self { parent, started: Started::None, suppressed: false }
    }

    pub(crate) fn suppressed(parent: &'p Context) -> Self {
        Self { suppressed: true, ..Self::none(parent) }
    }

    pub(crate) fn new(parent: &'p Context, started: Started) -> Self {
        Self { started, ..Self::none(parent) }
    }

    /// Injects the span's context into a carrier, as [`Operation::inject`](crate::Operation::inject) does.
    #[inline]
    pub fn inject<C: HeaderWriter>(&self, propagator: &PropagatorHandle, carrier: &mut C) {
        match &self.started {
            Started::None => propagator.inject_absent(self.parent, carrier),
            Started::Dropped(identity) => propagator.inject_span_context(identity, self.parent, carrier),
            Started::Recording(context) => propagator.inject(context, carrier),
        }
    }

    /// Returns the span in the context in which the operation runs: with the span if it records, else the parent's.
    #[inline]
    pub(crate) fn into_span(self) -> StartedSpan {
        let (context, recording, own) = match self.started {
            Started::Recording(context) => (context, true, true),
            Started::Dropped(_) => (self.parent.clone(), false, true),
            Started::None if self.suppressed => return StartedSpan::suppressed(self.parent),
            Started::None => (self.parent.clone(), false, false),
        };
        StartedSpan { context, recording, own, suppressed: false }
    }
}

impl fmt::Debug for OutboundSpan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_recording = matches!(self.started, Started::Recording(_));
        f.debug_struct("OutboundSpan").field("recording", &is_recording).finish_non_exhaustive()
    }
}
