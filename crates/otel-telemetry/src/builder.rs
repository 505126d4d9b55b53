//! The builder of the telemetry.
//!
//! Follows the specification of [environment
//! variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/): the values are
//! resolved in this crate and passed to the SDK as code.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::{Key, KeyValue, Value, global};
use opentelemetry_sdk::logs::{LogExporter, LoggerProviderBuilder};
use opentelemetry_sdk::metrics::MeterProviderBuilder;
use opentelemetry_sdk::trace::{SpanData, SpanExporter, TracerProviderBuilder};
use otel_propagation::CompositePropagator;

use crate::assemble;
use crate::batch::{BatchOptions, DynDeliver, OwnedLog, deliver_logs, deliver_spans};
use crate::config::{Exporter, OtlpOptions, Signal};
use crate::env::Env;
use crate::error::SetupError;
use crate::logs;
use crate::resource::{Detector, ResourceOptions};
use crate::sampler::Sampler;
use crate::telemetry::{Options, Telemetry};

/// Set while an [`init`](TelemetryBuilder::init) runs, and after one has succeeded, until its shutdown.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Allows the next [`init`](TelemetryBuilder::init), after a shutdown.
pub(crate) fn allow_init() {
    INITIALISED.store(false, Ordering::SeqCst);
}

/// A customization of one of the SDK's builders.
pub(crate) type Customize<B> = Box<dyn FnOnce(B) -> B + Send>;

/// Creates the sampler for a service name.
pub(crate) type MakeSampler = Box<dyn FnOnce(&str) -> Sampler + Send>;

/// Builds [`Telemetry`]. The `OTEL_*` environment takes precedence over these settings.
#[must_use = "a description does nothing until `init` or `build`"]
pub struct TelemetryBuilder {
    pub(crate) resource_options: ResourceOptions,
    pub(crate) exporters: [Exporter; 3],
    pub(crate) otlp: OtlpOptions,
    pub(crate) span_batch: BatchOptions,
    pub(crate) log_batch: BatchOptions,
    pub(crate) metric_interval: Duration,
    pub(crate) metric_timeout: Duration,
    pub(crate) span_exporter: Option<DynDeliver<SpanData>>,
    pub(crate) log_exporter: Option<DynDeliver<OwnedLog>>,
    pub(crate) sampler: Option<MakeSampler>,
    pub(crate) baggage: Vec<Key>,
    pub(crate) traces: Option<Customize<TracerProviderBuilder>>,
    pub(crate) metrics: Option<Customize<MeterProviderBuilder>>,
    pub(crate) logs: Option<Customize<LoggerProviderBuilder>>,
    pub(crate) options: Options,
    pub(crate) env: Option<HashMap<String, String>>,
    pub(crate) strict_env: bool,
    pub(crate) propagator: Option<CompositePropagator>,
    subscriber: bool,
    tracing_spans: bool,
    log_filter: String,
    random_trace_flag: bool,
}

impl fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The OTLP options are omitted, because their headers carry credentials.
        f.debug_struct("TelemetryBuilder")
            .field("resource", &self.resource_options)
            .field("exporters", &self.exporters)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Default for TelemetryBuilder {
    fn default() -> Self {
        Self {
            resource_options: ResourceOptions::default(),
            exporters: [Exporter::Otlp; 3],
            otlp: OtlpOptions::default(),
            span_batch: BatchOptions::for_spans(),
            log_batch: BatchOptions::for_logs(),
            metric_interval: Duration::from_secs(60),
            metric_timeout: Duration::from_secs(30),
            span_exporter: None,
            log_exporter: None,
            sampler: None,
            baggage: Vec::new(),
            traces: None,
            metrics: None,
            logs: None,
            options: Options {
                shutdown_timeout: Duration::from_secs(5),
                drain_delay: Duration::ZERO,
                disabled: false,
                follows_unsampled_parents: false,
            },
            env: None,
            strict_env: false,
            propagator: None,
            subscriber: true,
            tracing_spans: false,
            log_filter: "info".into(),
            random_trace_flag: false,
        }
    }
}

impl TelemetryBuilder {
    /// Sets `service.name`. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override it.
    pub fn with_service_name(self, name: impl Into<Value>) -> Self {
        self.with_attribute(KeyValue::new("service.name", name))
    }

    /// Sets `service.version`, usually `env!("CARGO_PKG_VERSION")`.
    pub fn with_service_version(self, version: impl Into<Value>) -> Self {
        self.with_attribute(KeyValue::new("service.version", version))
    }

    /// Adds an attribute to the resource. `OTEL_RESOURCE_ATTRIBUTES` overrides it.
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.resource_options.attributes.push(attribute);
        self
    }

    /// Disables a detector of resource attributes.
    pub fn without_detector(mut self, detector: Detector) -> Self {
        self.resource_options.without.push(detector);
        self
    }

    /// Sets the exporter of a signal. `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` and `OTEL_LOGS_EXPORTER`
    /// override it.
    pub fn with_exporter(mut self, signal: Signal, exporter: Exporter) -> Self {
        self.exporters[signal as usize] = exporter;
        self
    }

    /// Sets the exporter of all signals.
    pub fn with_exporters(mut self, exporter: Exporter) -> Self {
        self.exporters = [exporter; 3];
        self
    }

    /// Sets the OTLP options of all signals.
    pub fn with_otlp(mut self, options: OtlpOptions) -> Self {
        self.otlp = options;
        self
    }

    /// Sends spans in batches to a custom exporter. `OTEL_TRACES_EXPORTER` overrides it. The exporter runs on a
    /// thread of its own, inside a tokio runtime. An exporter that blocks this thread delays its own signal only.
    pub fn with_span_exporter(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.span_exporter = Some(deliver_spans(exporter));
        self
    }

    /// Sends log records in batches to a custom exporter, as [`with_span_exporter`](Self::with_span_exporter) does.
    /// `OTEL_LOGS_EXPORTER` overrides it.
    pub fn with_log_exporter(mut self, exporter: impl LogExporter + 'static) -> Self {
        self.log_exporter = Some(deliver_logs(exporter));
        self
    }

    /// Sets the batch options of spans. `OTEL_BSP_*` overrides them.
    pub fn with_span_batch(mut self, options: BatchOptions) -> Self {
        self.span_batch = options;
        self
    }

    /// Sets the batch options of log records. `OTEL_BLRP_*` overrides them.
    pub fn with_log_batch(mut self, options: BatchOptions) -> Self {
        self.log_batch = options;
        self
    }

    /// Sets the interval and the timeout of metric exports. Defaults: 60 seconds and 30 seconds. An interval of zero is
    /// the default one, a timeout of zero is indefinite.
    /// `OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_METRIC_EXPORT_TIMEOUT` override them.
    pub fn with_metric_export(mut self, interval: Duration, timeout: Duration) -> Self {
        self.metric_interval = interval;
        self.metric_timeout = timeout;
        self
    }

    /// Sets the sampler. Default: `parent_based(always)`. `OTEL_TRACES_SAMPLER` overrides it.
    pub fn with_sampler(self, sampler: impl Into<Sampler>) -> Self {
        let sampler = sampler.into();
        self.with_sampler_for(move |_| sampler)
    }

    /// Sets the sampler by a function of the resolved service name, for tables of rules that match on the service.
    pub fn with_sampler_for(mut self, make: impl FnOnce(&str) -> Sampler + Send + 'static) -> Self {
        self.sampler = Some(Box::new(make));
        self
    }

    /// Sets the propagator. Default: W3C Trace Context and Baggage. `OTEL_PROPAGATORS` overrides it.
    pub fn with_propagator(mut self, propagator: CompositePropagator) -> Self {
        self.propagator = Some(propagator);
        self
    }

    /// Copies these baggage entries, if present, onto spans and log records as attributes with the same keys.
    pub fn with_baggage_attributes<K: Into<Key>>(mut self, names: impl IntoIterator<Item = K>) -> Self {
        self.baggage.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets the `random` flag of Trace Context level 2 for traces that begin here. Their ids are random in any case;
    /// the flag is not set by default, because it costs three more allocations for each received `traceparent`
    /// without the flag.
    pub fn with_random_trace_flag(mut self) -> Self {
        self.random_trace_flag = true;
        self
    }

    /// Makes [`init`](Self::init) convert `tracing` spans into OpenTelemetry spans as well.
    pub fn with_tracing_spans(mut self) -> Self {
        self.tracing_spans = true;
        self
    }

    /// Sets the filter of the subscriber that [`init`](Self::init) installs. Default: `info`. `RUST_LOG` overrides
    /// it.
    pub fn with_log_filter(mut self, directives: impl Into<String>) -> Self {
        self.log_filter = directives.into();
        self
    }

    /// Makes [`init`](Self::init) leave the global `tracing` subscriber alone. Add
    /// [`log_layer`](Telemetry::log_layer) and [`span_layer`](Telemetry::span_layer) to the application's subscriber
    /// instead.
    pub fn without_subscriber(mut self) -> Self {
        self.subscriber = false;
        self
    }

    /// Sets the deadline of [`shutdown`](Telemetry::shutdown) and of dropping. Default: 5 seconds.
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.options.shutdown_timeout = timeout;
        self
    }

    /// Sets the time that the servers continue after a signal, so that load balancers notice that the service is no
    /// longer ready. Default: zero.
    pub fn with_drain_delay(mut self, delay: Duration) -> Self {
        self.options.drain_delay = delay;
        self
    }

    /// Customizes the SDK's builder of the tracer provider, for example span limits or additional processors. It is
    /// called after the resource and the sampler are set.
    pub fn map_tracer_provider(
        mut self,
        map: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder + Send + 'static,
    ) -> Self {
        self.traces = Some(Box::new(map));
        self
    }

    /// Customizes the SDK's builder of the meter provider, for example views or additional readers.
    pub fn map_meter_provider(
        mut self,
        map: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder + Send + 'static,
    ) -> Self {
        self.metrics = Some(Box::new(map));
        self
    }

    /// Customizes the SDK's builder of the logger provider, for example additional processors.
    pub fn map_logger_provider(
        mut self,
        map: impl FnOnce(LoggerProviderBuilder) -> LoggerProviderBuilder + Send + 'static,
    ) -> Self {
        self.logs = Some(Box::new(map));
        self
    }

    /// Makes an invalid environment variable an error instead of a warning. A variable that is not supported remains a
    /// warning.
    pub fn strict_env(mut self) -> Self {
        self.strict_env = true;
        self
    }

    /// Reads these variables instead of the environment of the process, for tests and for several set-ups in one
    /// process.
    pub fn with_env<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.env = Some(variables.collect());
        self
    }

    /// Sets everything up without installing any global: no provider, no propagator, no subscriber. Several can exist
    /// side by side.
    ///
    /// # Errors
    ///
    /// See [`SetupError`].
    pub fn build(mut self) -> Result<Telemetry, SetupError> {
        let env = self.env();
        let telemetry = assemble::assemble(self, env)?;
        log_setup(&telemetry);
        Ok(telemetry)
    }

    /// Sets everything up and installs it globally: the providers, the propagator, and a `tracing` subscriber that
    /// prints to standard error and sends events as log records.
    ///
    /// # Errors
    ///
    /// See [`SetupError`]. A call after a successful one in the same process fails until that telemetry is shut down. The
    /// next call then replaces the globals; layers that have started spans before keep the tracers of the first.
    pub fn init(mut self) -> Result<Telemetry, SetupError> {
        if INITIALISED.swap(true, Ordering::SeqCst) {
            return Err(SetupError::AlreadyInitialised);
        }
        let result = self.init_once();
        if result.is_err() {
            allow_init();
        }
        result
    }

    fn init_once(&mut self) -> Result<Telemetry, SetupError> {
        let mut env = self.env();
        let filter = self.subscriber.then(|| logs::filter(&self.log_filter, &mut env));
        let tracing_spans = self.tracing_spans;
        let random = self.random_trace_flag;
        let telemetry = assemble::assemble(std::mem::take(self), env)?;
        let running = Arc::clone(telemetry.running());
        let enabled = !running.options.disabled;
        if let Some(filter) = filter {
            logs::install(
                filter,
                &running.logger_provider,
                (tracing_spans && enabled).then_some(&running.tracer_provider),
            )?;
        }
        otel_propagation::set_global(running.propagator.clone());
        if enabled {
            if random {
                otel_propagation::declare_random_trace_ids(true);
            }
            otel_operation::set_tracer_provider(running.tracer_provider.clone());
            #[cfg(feature = "bound-metrics")]
            otel_operation::declare_bound_metrics();
            if running.options.follows_unsampled_parents {
                otel_operation::declare_parent_based_sampler();
            }
            global::set_meter_provider(running.meter_provider.clone());
        }
        otel_operation::declare_final_propagator();
        running.installed.store(true, Ordering::SeqCst);
        log_setup(&telemetry);
        Ok(telemetry)
    }

    fn env(&mut self) -> Env {
        match self.env.take() {
            Some(variables) => Env::fixed(variables),
            None => Env::from_process(),
        }
    }
}

fn log_setup(telemetry: &Telemetry) {
    tracing::info!(name: "telemetry.started", "{}", telemetry.describe());
    for problem in telemetry.env_problems() {
        tracing::warn!(name: "env.ignored", variable = problem.variable, "{problem}");
    }
}
