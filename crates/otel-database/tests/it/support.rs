//! The instrumentation of a toy client.

use opentelemetry::InstrumentationScope;
use otel_database::{DatabaseInstrumentation, Dialect, Options, attributes};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;

pub(crate) use otel_testing::spans::remote;

pub(crate) fn database(recorder: &Recorder) -> DatabaseInstrumentation {
    with(recorder, |options| options)
}

pub(crate) fn with(recorder: &Recorder, options: impl FnOnce(Options) -> Options) -> DatabaseInstrumentation {
    build(options(defaults(recorder)))
}

pub(crate) fn build(options: Options) -> DatabaseInstrumentation {
    DatabaseInstrumentation::builder("parrotdb", scope())
        .with_server(Some(("db.example", Some(4711))))
        .with_namespace(Some("shop"))
        .with_dialect(Dialect::PostgreSql)
        .build(options)
}

pub(crate) fn defaults(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default())
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("test").with_schema_url(attributes::SCHEMA_URL).build()
}
