//! An instrumentation that records to a recorder of the test, and the context of a caller.

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt as _};
use otel_tasks::{Options, TaskInstrumentation, TaskSpan};
use otel_testing::Recorder;

pub(crate) use otel_testing::spans::{attribute, error_type, remote};

pub(crate) fn options(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
}

pub(crate) fn tasks(recorder: &Recorder) -> TaskInstrumentation {
    TaskInstrumentation::new(options(recorder))
}

/// The span of this name, recorded by the recorder.
pub(crate) fn span(recorder: &Recorder, name: &'static str) -> TaskSpan {
    TaskSpan::new(name).with_instrumentation(&tasks(recorder))
}

/// The span that is current.
pub(crate) fn current() -> SpanId {
    Context::map_current(|context| context.span().span_context().span_id())
}
