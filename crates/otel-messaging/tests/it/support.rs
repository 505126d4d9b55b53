//! A minimal transport: uses the crate as the instrumentation of a broker's client does.

use opentelemetry::InstrumentationScope;
use otel_messaging::{Destination, DestinationDescription, MessagingInstrumentation, Options, attributes};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;

pub(crate) use otel_testing::spans::remote;

pub(crate) type Headers = Vec<(String, String)>;

pub(crate) fn messaging(recorder: &Recorder) -> MessagingInstrumentation {
    with(recorder, |options| options)
}

pub(crate) fn with(
    recorder: &Recorder,
    options: impl FnOnce(Options) -> Options,
) -> MessagingInstrumentation {
    MessagingInstrumentation::builder("parrot", scope()).build(options(defaults(recorder)))
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

pub(crate) fn named(messaging: &MessagingInstrumentation, name: &str) -> Destination {
    messaging.destination(&[name], || DestinationDescription::new().with_name(name))
}

pub(crate) fn header<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
