//! The tracer provider that counts explicit ends of spans, and its deterministic ids.
//!
//! Follows <https://opentelemetry.io/docs/specs/otel/trace/api/#end> (a span is ended once; later calls are ignored).

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    trace::{Span, SpanBuilder, SpanContext, SpanId, Status, TraceId, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::{IdGenerator, SdkTracer, SdkTracerProvider};

use crate::span_log::SpanLog;

/// A [`TracerProvider`] over the SDK's, whose spans count how often they were ended explicitly.
///
/// The SDK ends a span when it is dropped and ignores every end after the first one, so an instrumentation that
/// forgets to end, or ends twice, looks right in what it exports. Here both are seen.
#[derive(Clone, Debug)]
pub struct RecordingTracerProvider {
    pub(crate) sdk: SdkTracerProvider,
    pub(crate) span_log: SpanLog,
}

impl TracerProvider for RecordingTracerProvider {
    type Tracer = RecordingTracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> Self::Tracer {
        RecordingTracer { sdk: self.sdk.tracer_with_scope(scope), span_log: self.span_log.clone() }
    }
}

/// The tracer of a [`RecordingTracerProvider`].
#[derive(Clone, Debug)]
pub struct RecordingTracer {
    sdk: SdkTracer,
    span_log: SpanLog,
}

impl Tracer for RecordingTracer {
    type Span = RecordingSpan;

    fn build_with_context(&self, builder: SpanBuilder, parent_cx: &Context) -> Self::Span {
        RecordingSpan {
            sdk: self.sdk.build_with_context(builder, parent_cx),
            span_log: self.span_log.clone(),
        }
    }
}

/// The span of a [`RecordingTracer`].
#[derive(Debug)]
pub struct RecordingSpan {
    sdk: opentelemetry_sdk::trace::Span,
    span_log: SpanLog,
}

impl Span for RecordingSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        self.sdk.add_event_with_timestamp(name, timestamp, attributes);
    }

    fn span_context(&self) -> &SpanContext {
        self.sdk.span_context()
    }

    fn is_recording(&self) -> bool {
        self.sdk.is_recording()
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.sdk.set_attribute(attribute);
    }

    fn set_status(&mut self, status: Status) {
        self.sdk.set_status(status);
    }

    fn update_name<T>(&mut self, new_name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.sdk.update_name(new_name);
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        self.sdk.add_link(span_context, attributes);
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        // Counted first, so that a task that the end of the span wakes sees the count.
        self.span_log.explicit_end(self.sdk.span_context().span_id());
        self.sdk.end_with_timestamp(timestamp);
    }
}

/// Ids that count up from one: the prefix in front, then the recorder's number, then the count. The two ends, which is
/// what is rendered, do not depend on what other tests run in the process; the middle keeps the ids of two recorders
/// in one trace apart.
#[derive(Debug)]
pub(crate) struct SequentialIds {
    recorder: u64,
    traces: AtomicU64,
    spans: AtomicU64,
}

/// No id in a test's headers is likely to begin like this.
const PREFIX: u64 = 0x7e57 << 48;
const COUNT_BITS: u32 = 28;

impl SequentialIds {
    pub(crate) fn new() -> Self {
        static RECORDERS: AtomicU64 = AtomicU64::new(1);
        let recorder = RECORDERS.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
        Self {
            recorder: PREFIX | (recorder << COUNT_BITS),
            traces: AtomicU64::new(1),
            spans: AtomicU64::new(1),
        }
    }
}

impl IdGenerator for SequentialIds {
    fn new_trace_id(&self) -> TraceId {
        let number = self.traces.fetch_add(1, Ordering::Relaxed);
        TraceId::from((u128::from(self.recorder) << 64) | u128::from(number))
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(self.recorder | self.spans.fetch_add(1, Ordering::Relaxed))
    }
}
