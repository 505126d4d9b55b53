//! The ids of spans and traces: random, unless the code that starts a span requests certain ids.
//!
//! Follows the [Trace SDK, "Id Generators"](https://opentelemetry.io/docs/specs/otel/trace/sdk/#id-generators).

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// The SDK's random ids, except for ids requested with `otel_operation::with_span_identity`.
#[derive(Debug, Default)]
pub(crate) struct RequestedOrRandomIds(RandomIdGenerator);

impl IdGenerator for RequestedOrRandomIds {
    fn new_trace_id(&self) -> TraceId {
        otel_operation::take_requested_trace_id().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        otel_operation::take_requested_span_id().unwrap_or_else(|| self.0.new_span_id())
    }
}
