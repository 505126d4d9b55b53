//! Spans of other processes as parents, and the attributes of finished spans.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::trace::SpanData;

use crate::Recorder;

/// Returns a context with the span of another process. Trace and span have the same number.
#[must_use]
pub fn remote(id: u64, sampled: bool) -> Context {
    let flags = TraceFlags::default().with_sampled(sampled);
    let span =
        SpanContext::new(TraceId::from(u128::from(id)), SpanId::from(id), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span)
}

/// Returns the header of the sampled span that [`remote`] returns.
#[must_use]
pub fn traceparent(id: u64) -> String {
    format!("00-{:032x}-{id:016x}-01", u128::from(id))
}

/// Returns the header that names a finished span.
#[must_use]
pub fn traceparent_of(span: &SpanData) -> String {
    let context = &span.span_context;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

/// Returns options and the current context of three operations without a span of their own: without an SDK, without an SDK
/// inside of a remote span, and with one that was shut down. `options` returns those of a recorder.
pub fn without_own_span<O: Clone>(without_sdk: O, options: impl Fn(&Recorder) -> O) -> [(O, Context); 3] {
    let stopped = Recorder::new();
    stopped.shutdown();
    let remote = remote(7, true);
    [(without_sdk.clone(), Context::new()), (without_sdk, remote.clone()), (options(&stopped), remote)]
}

/// Returns an attribute of a span.
#[must_use]
pub fn value<'s>(span: &'s SpanData, key: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| &kv.value)
}

/// Returns an attribute of a span as text.
#[must_use]
pub fn attribute(span: &SpanData, key: &str) -> Option<String> {
    value(span, key).map(ToString::to_string)
}

/// Returns the class of a span's failure.
#[must_use]
pub fn error_type(span: &SpanData) -> Option<String> {
    attribute(span, "error.type")
}
