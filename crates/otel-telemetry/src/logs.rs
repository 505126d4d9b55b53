//! The bridge from `tracing`: events become log records and, on request, spans become OpenTelemetry spans.
//!
//! Follows the [Logs API](https://opentelemetry.io/docs/specs/otel/logs/api/), which such bridges use. Events of the
//! exporters' own dependencies (hyper, h2, tonic) are suppressed by thread and not by target, which would also
//! suppress the application's events of these crates: the export thread is marked as suppressed, and the SDK drops
//! events emitted on it.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::env::Env;
use crate::error::SetupError;

/// Returns a layer that sends `tracing` events as log records, with the ids of the current span.
pub(crate) fn log_layer<S>(provider: &SdkLoggerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    OpenTelemetryTracingBridge::new(provider)
}

/// Returns a layer that converts `tracing` spans into OpenTelemetry spans.
pub(crate) fn span_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer().with_tracer(provider.tracer("tracing"))
}

/// Returns the filter of the installed subscriber: `RUST_LOG`, else the default from code.
pub(crate) fn filter(default: &str, env: &mut Env) -> EnvFilter {
    if let Some(directives) = env.get("RUST_LOG") {
        match EnvFilter::try_new(&directives) {
            Ok(filter) => return filter,
            Err(_) => env.problem("RUST_LOG", &directives, "directives like info,my_crate=debug"),
        }
    }
    EnvFilter::new(default)
}

/// Installs the global subscriber: text on standard error, events as log records, spans on request.
pub(crate) fn install(
    filter: EnvFilter,
    logs: Option<&SdkLoggerProvider>,
    spans: Option<&SdkTracerProvider>,
) -> Result<(), SetupError> {
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // The layer's default also colours files and pipes.
    let text = if std::io::stderr().is_terminal() { text } else { text.with_ansi(false) };
    tracing_subscriber::registry()
        .with(filter)
        .with(spans.map(span_layer))
        .with(logs.map(log_layer))
        .with(text)
        .try_init()
        .map_err(SetupError::Subscriber)
}

#[cfg(test)]
mod tests {
    use super::{Env, filter};

    #[test]
    fn the_environments_filter_goes_before_the_codes() {
        let of = |value: &str| {
            let mut env = Env::fixed([("RUST_LOG".to_owned(), value.to_owned())].into());
            (filter("info", &mut env).to_string(), env.into_problems().len())
        };
        assert_eq!(of(""), ("info".to_owned(), 0));
        assert_eq!(of("orders=trace"), ("orders=trace".to_owned(), 0));
        assert_eq!(of("orders=loud"), ("info".to_owned(), 1));
    }
}
