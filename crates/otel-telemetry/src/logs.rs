//! The bridge from `tracing`: events become log records and, on request, spans become OpenTelemetry spans.
//!
//! Follows the [Logs API](https://opentelemetry.io/docs/specs/otel/logs/api/), which such bridges use. Events of the
//! exporters' own dependencies (hyper, h2, tonic) are suppressed by thread and not by target, which would also
//! suppress the application's events of these crates: this crate's threads are marked as suppressed, and the SDK drops
//! events emitted on them.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use opentelemetry::logs::{Logger, LoggerProvider, Severity};
use opentelemetry::trace::{SpanBuilder, Tracer, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::env::Env;
use crate::error::SetupError;

/// The instrumentation scope of `tracing` spans.
const SCOPE: &str = "tracing";

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
    tracing_opentelemetry::layer().with_tracer(provider.tracer(SCOPE))
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

/// The parts of the global subscriber that a later set-up in the same process replaces. The subscriber itself cannot
/// be replaced.
struct Installed {
    filter: reload::Handle<EnvFilter, Registry>,
    logger: Current<SdkLogger>,
    /// `None` if the subscriber was installed without the layer for `tracing` spans.
    tracer: Option<Current<SdkTracer>>,
}

static INSTALLED: Mutex<Option<Installed>> = Mutex::new(None);

/// Installs the global subscriber: text on standard error, events as log records, spans on request. A later call
/// replaces the filter and the providers behind its layers.
pub(crate) fn install(
    filter: EnvFilter,
    logs: &SdkLoggerProvider,
    spans: Option<&SdkTracerProvider>,
) -> Result<(), SetupError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    let logger = logs.logger("");
    let tracer = spans.map(|spans| spans.tracer(SCOPE));
    if let Some(installed) = &*installed {
        match (tracer, &installed.tracer) {
            (Some(tracer), Some(current)) => current.0.store(Arc::new(tracer)),
            (Some(_), None) => return Err(SetupError::TracingSpans),
            // The provider of the earlier set-up is shut down: its tracer creates spans that are not recorded.
            (None, _) => {}
        }
        installed.logger.0.store(Arc::new(logger));
        // An error means that the subscriber is gone, which cannot happen to a global one.
        let _ = installed.filter.reload(filter);
        return Ok(());
    }
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // The layer's default also colours files and pipes.
    let text = if std::io::stderr().is_terminal() { text } else { text.with_ansi(false) };
    let (filter, handle) = reload::Layer::new(filter);
    let logger = Current::new(logger);
    let tracer = tracer.map(Current::new);
    tracing_subscriber::registry()
        .with(filter)
        .with(tracer.clone().map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer)))
        .with(OpenTelemetryTracingBridge::new(&logger))
        .with(text)
        .try_init()
        .map_err(SetupError::Subscriber)?;
    *installed = Some(Installed { filter: handle, logger, tracer });
    Ok(())
}

/// The logger or tracer of the last set-up.
#[derive(Debug)]
struct Current<T>(Arc<ArcSwap<T>>);

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Current<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }
}

impl LoggerProvider for Current<SdkLogger> {
    type Logger = Self;

    fn logger_with_scope(&self, _scope: InstrumentationScope) -> Self {
        self.clone()
    }
}

impl Logger for Current<SdkLogger> {
    type LogRecord = SdkLogRecord;

    fn create_log_record(&self) -> SdkLogRecord {
        self.0.load().create_log_record()
    }

    fn emit(&self, record: SdkLogRecord) {
        self.0.load().emit(record);
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.0.load().event_enabled(level, target, name)
    }
}

impl Tracer for Current<SdkTracer> {
    type Span = Span;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Span {
        self.0.load().build_with_context(builder, parent)
    }
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
