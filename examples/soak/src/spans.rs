//! A tracer provider that counts its spans without keeping them.
//!
//! The SDK ends a span when it is dropped and ignores a second call of `end`
//! (<https://opentelemetry.io/docs/specs/otel/trace/api/#end>), so the calls are counted here, in a wrapper of the
//! span.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanBuilder, SpanContext, Status, Tracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanProcessor};

use crate::class::Tally;

/// The span counts.
#[derive(Debug, Default)]
pub struct SpanCounts {
    started: AtomicU64,
    with_remote_parent: AtomicU64,
    ended_once: AtomicU64,
    ended_by_drop: AtomicU64,
    ended_again: AtomicU64,
    classes: Tally,
}

impl SpanCounts {
    /// The number of started spans.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }

    /// The number of ended spans with a remote parent.
    #[must_use]
    pub fn with_remote_parent(&self) -> u64 {
        self.with_remote_parent.load(Ordering::SeqCst)
    }

    /// The number of dropped spans that were ended by exactly one call.
    #[must_use]
    pub fn ended_once(&self) -> u64 {
        self.ended_once.load(Ordering::SeqCst)
    }

    /// The number of dropped spans that were not ended by a call.
    #[must_use]
    pub fn ended_by_drop(&self) -> u64 {
        self.ended_by_drop.load(Ordering::SeqCst)
    }

    /// The number of dropped spans that were ended by more than one call.
    #[must_use]
    pub fn ended_again(&self) -> u64 {
        self.ended_again.load(Ordering::SeqCst)
    }

    /// The number of spans that are not dropped.
    #[must_use]
    pub fn alive(&self) -> u64 {
        self.started() - self.ended_once() - self.ended_by_drop() - self.ended_again()
    }

    /// The exported spans by class.
    #[must_use]
    pub fn classes(&self) -> &Tally {
        &self.classes
    }
}

/// A tracer provider that wraps the SDK's. Every span is sampled, counted and discarded.
#[derive(Clone, Debug)]
pub struct CountingTracerProvider {
    sdk: SdkTracerProvider,
    counts: Arc<SpanCounts>,
}

impl CountingTracerProvider {
    /// Creates a provider with all counts at zero.
    #[must_use]
    pub fn new() -> Self {
        let counts = Arc::<SpanCounts>::default();
        let sdk =
            SdkTracerProvider::builder().with_span_processor(CountingProcessor(Arc::clone(&counts))).build();
        Self { sdk, counts }
    }

    /// Returns the counts.
    #[must_use]
    pub fn counts(&self) -> &SpanCounts {
        &self.counts
    }
}

impl Default for CountingTracerProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl TracerProvider for CountingTracerProvider {
    type Tracer = CountingTracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> CountingTracer {
        CountingTracer { sdk: self.sdk.tracer_with_scope(scope), counts: Arc::clone(&self.counts) }
    }
}

/// The tracer of a [`CountingTracerProvider`].
#[derive(Clone, Debug)]
pub struct CountingTracer {
    sdk: SdkTracer,
    counts: Arc<SpanCounts>,
}

impl Tracer for CountingTracer {
    type Span = CountingSpan;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> CountingSpan {
        self.counts.started.fetch_add(1, Ordering::SeqCst);
        CountingSpan {
            sdk: self.sdk.build_with_context(builder, parent),
            ends: 0,
            counts: Arc::clone(&self.counts),
        }
    }
}

/// The span of a [`CountingTracer`]. On drop it counts how often it was ended.
#[derive(Debug)]
pub struct CountingSpan {
    sdk: opentelemetry_sdk::trace::Span,
    ends: u32,
    counts: Arc<SpanCounts>,
}

impl Drop for CountingSpan {
    fn drop(&mut self) {
        let count = match self.ends {
            0 => &self.counts.ended_by_drop,
            1 => &self.counts.ended_once,
            _ => &self.counts.ended_again,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

impl Span for CountingSpan {
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

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.sdk.update_name(name);
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        self.sdk.add_link(span_context, attributes);
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        self.ends += 1;
        self.sdk.end_with_timestamp(timestamp);
    }
}

/// A span processor that counts ended spans and discards them.
#[derive(Debug)]
struct CountingProcessor(Arc<SpanCounts>);

impl SpanProcessor for CountingProcessor {
    fn on_start(&self, _span: &mut opentelemetry_sdk::trace::Span, _cx: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.parent_span_is_remote {
            self.0.with_remote_parent.fetch_add(1, Ordering::SeqCst);
        }
        self.0.classes.add(crate::Class::from_attributes(&span.attributes));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span, Tracer, TracerProvider};

    use super::CountingTracerProvider;

    #[test]
    fn each_way_to_end_a_span_is_counted() {
        let provider = CountingTracerProvider::new();
        let tracer = provider.tracer("test");
        let counts = || {
            let counts = provider.counts();
            [counts.alive(), counts.ended_once(), counts.ended_by_drop(), counts.ended_again()]
        };
        let mut once = tracer.start("once");
        assert_eq!(counts(), [1, 0, 0, 0]);
        once.end();
        assert_eq!(counts(), [1, 0, 0, 0], "counted on drop, because a second end can follow until then");
        drop(once);
        assert_eq!(counts(), [0, 1, 0, 0]);

        drop(tracer.start("never"));
        assert_eq!(counts(), [0, 1, 1, 0]);

        let mut twice = tracer.start("twice");
        twice.end();
        twice.end();
        drop(twice);
        assert_eq!(counts(), [0, 1, 1, 1]);

        std::mem::forget(tracer.start("leaked"));
        assert_eq!(counts(), [1, 1, 1, 1]);
        assert_eq!(provider.counts().started(), 4);
        let exported: u64 = provider.counts().classes().counts().values().sum();
        assert_eq!(exported, 3, "the SDK exports each of them once");
    }
}
