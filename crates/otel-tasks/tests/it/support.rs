//! An instrumentation that records to a recorder of the test.

use otel_tasks::{Options, TaskInstrumentation, TaskSpan};
use otel_testing::Recorder;

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
