//! The description of the telemetry, and its set-up.
//!
//! Follows the
//! [environment variable specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/):
//! the values are resolved here and handed to the SDK as code.

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
use crate::resource::{Described, Detector};
use crate::sampler::Sampler;
use crate::telemetry::{Options, Telemetry};

/// Whether [`TelemetryBuilder::init`] has succeeded in this process.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// A change of one of the SDK's builders.
pub(crate) type Map<B> = Box<dyn FnOnce(B) -> B + Send>;

/// Makes the sampler for the name of the service.
pub(crate) type MakeSampler = Box<dyn FnOnce(&str) -> Sampler + Send>;

/// The description of the telemetry. The `OTEL_*` environment wins over what is said here.
#[must_use = "a description does nothing until `init` or `build`"]
pub struct TelemetryBuilder {
    pub(crate) described: Described,
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
    pub(crate) traces: Option<Map<TracerProviderBuilder>>,
    pub(crate) metrics: Option<Map<MeterProviderBuilder>>,
    pub(crate) logs: Option<Map<LoggerProviderBuilder>>,
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
        // Not the OTLP options, whose headers carry credentials.
        f.debug_struct("TelemetryBuilder")
            .field("resource", &self.described)
            .field("exporters", &self.exporters)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Default for TelemetryBuilder {
    fn default() -> Self {
        Self {
            described: Described::default(),
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
    /// `service.name`; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override it.
    pub fn with_service_name(self, name: impl Into<Value>) -> Self {
        self.with_attribute(KeyValue::new("service.name", name))
    }

    /// `service.version`, as a rule `env!("CARGO_PKG_VERSION")`.
    pub fn with_service_version(self, version: impl Into<Value>) -> Self {
        self.with_attribute(KeyValue::new("service.version", version))
    }

    /// One more attribute of the resource; `OTEL_RESOURCE_ATTRIBUTES` overrides it.
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.described.attributes.push(attribute);
        self
    }

    /// Switches a detector of resource attributes off.
    pub fn without_detector(mut self, detector: Detector) -> Self {
        self.described.without.push(detector);
        self
    }

    /// Where a signal goes; `OTEL_TRACES_EXPORTER` and its like override it.
    pub fn with_exporter(mut self, signal: Signal, exporter: Exporter) -> Self {
        self.exporters[signal as usize] = exporter;
        self
    }

    /// Where all signals go.
    pub fn with_exporters(mut self, exporter: Exporter) -> Self {
        self.exporters = [exporter; 3];
        self
    }

    /// How the collector is reached.
    pub fn with_otlp(mut self, options: OtlpOptions) -> Self {
        self.otlp = options;
        self
    }

    /// Sends spans in batches to an exporter of your own. `OTEL_TRACES_EXPORTER` overrides it. It runs on the export
    /// thread, inside a tokio runtime, and must not block it for long.
    pub fn with_span_exporter(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.span_exporter = Some(deliver_spans(exporter));
        self
    }

    /// Sends log records in batches to an exporter of your own, as [`with_span_exporter`](Self::with_span_exporter).
    pub fn with_log_exporter(mut self, exporter: impl LogExporter + 'static) -> Self {
        self.log_exporter = Some(deliver_logs(exporter));
        self
    }

    /// How spans are batched; `OTEL_BSP_*` overrides it.
    pub fn with_span_batch(mut self, options: BatchOptions) -> Self {
        self.span_batch = options;
        self
    }

    /// How log records are batched; `OTEL_BLRP_*` overrides it.
    pub fn with_log_batch(mut self, options: BatchOptions) -> Self {
        self.log_batch = options;
        self
    }

    /// How often metrics are exported, 60 seconds by default, and how long that may take, 30 seconds by default;
    /// `OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_METRIC_EXPORT_TIMEOUT` override it.
    pub fn with_metric_export(mut self, interval: Duration, timeout: Duration) -> Self {
        self.metric_interval = interval;
        self.metric_timeout = timeout;
        self
    }

    /// The sampler, `parent_based(always)` by default; `OTEL_TRACES_SAMPLER` overrides it.
    pub fn with_sampler(self, sampler: impl Into<Sampler>) -> Self {
        let sampler = sampler.into();
        self.with_sampler_for(move |_| sampler)
    }

    /// The sampler, made for the name that the service has once the environment has been asked: for tables of rules
    /// that match on the service.
    pub fn with_sampler_for(mut self, make: impl FnOnce(&str) -> Sampler + Send + 'static) -> Self {
        self.sampler = Some(Box::new(make));
        self
    }

    /// The propagator, W3C Trace Context and Baggage by default; `OTEL_PROPAGATORS` overrides it.
    pub fn with_propagator(mut self, propagator: CompositePropagator) -> Self {
        self.propagator = Some(propagator);
        self
    }

    /// Copies these baggage entries, where they are present, onto spans and log records as attributes of the same names.
    pub fn with_baggage_attributes<K: Into<Key>>(mut self, names: impl IntoIterator<Item = K>) -> Self {
        self.baggage.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets the `random` flag of Trace Context level 2 for traces that begin here. It is true of them in any case; that
    /// it is not the default is for the price: three more allocations for each received `traceparent` without the flag.
    pub fn with_random_trace_flag(mut self) -> Self {
        self.random_trace_flag = true;
        self
    }

    /// Has [`init`](Self::init) make OpenTelemetry spans of `tracing` spans, too.
    pub fn with_tracing_spans(mut self) -> Self {
        self.tracing_spans = true;
        self
    }

    /// The filter of the subscriber that [`init`](Self::init) installs, `info` by default; `RUST_LOG` overrides it.
    pub fn with_log_filter(mut self, directives: impl Into<String>) -> Self {
        self.log_filter = directives.into();
        self
    }

    /// Has [`init`](Self::init) leave the global `tracing` subscriber alone. Put
    /// [`log_layer`](Telemetry::log_layer) and [`span_layer`](Telemetry::span_layer) into your own.
    pub fn without_subscriber(mut self) -> Self {
        self.subscriber = false;
        self
    }

    /// The deadline of [`shutdown`](Telemetry::shutdown) and of dropping, 5 seconds by default.
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.options.shutdown_timeout = timeout;
        self
    }

    /// How long after a signal the servers go on: time for load balancers to see that the service is not ready any more.
    /// Zero by default.
    pub fn with_drain_delay(mut self, delay: Duration) -> Self {
        self.options.drain_delay = delay;
        self
    }

    /// Changes the SDK's builder of the tracer provider: span limits, processors beside the export. It comes after the
    /// resource and the sampler are set.
    pub fn map_tracer_provider(
        mut self,
        map: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder + Send + 'static,
    ) -> Self {
        self.traces = Some(Box::new(map));
        self
    }

    /// Changes the SDK's builder of the meter provider: views, readers beside the export.
    pub fn map_meter_provider(
        mut self,
        map: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder + Send + 'static,
    ) -> Self {
        self.metrics = Some(Box::new(map));
        self
    }

    /// Changes the SDK's builder of the logger provider: processors beside the export.
    pub fn map_logger_provider(
        mut self,
        map: impl FnOnce(LoggerProviderBuilder) -> LoggerProviderBuilder + Send + 'static,
    ) -> Self {
        self.logs = Some(Box::new(map));
        self
    }

    /// Makes a variable of the environment that is not understood an error instead of a warning.
    pub fn strict_env(mut self) -> Self {
        self.strict_env = true;
        self
    }

    /// Reads these variables instead of the environment of the process: for tests, and for several set-ups in one
    /// process. What the SDK and the OTLP exporter read by themselves (span limits; headers and `gzip`, once more) stays the
    /// process's.
    pub fn with_env<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.env = Some(variables.collect());
        self
    }

    /// Sets everything up without touching any global: no providers, no propagator, no subscriber are installed. Several
    /// live side by side.
    ///
    /// # Errors
    ///
    /// See [`SetupError`].
    pub fn build(mut self) -> Result<Telemetry, SetupError> {
        let env = self.env();
        let telemetry = assemble::assemble(self, env)?;
        warn_of_problems(&telemetry);
        Ok(telemetry)
    }

    /// Sets everything up and installs it: the providers, the propagator, and a `tracing` subscriber that prints to the
    /// standard error and bridges to the log records.
    ///
    /// # Errors
    ///
    /// See [`SetupError`]. A second call in a process is one, whatever became of the first telemetry.
    pub fn init(mut self) -> Result<Telemetry, SetupError> {
        if INITIALISED.swap(true, Ordering::SeqCst) {
            return Err(SetupError::AlreadyInitialised);
        }
        let result = self.init_once();
        if result.is_err() {
            INITIALISED.store(false, Ordering::SeqCst);
        }
        result
    }

    fn init_once(&mut self) -> Result<Telemetry, SetupError> {
        let mut env = self.env();
        let filter = self.subscriber.then(|| logs::filter(&self.log_filter, &mut env));
        let tracing_spans = self.tracing_spans;
        let random = self.random_trace_flag;
        let telemetry = assemble::assemble(std::mem::take(self), env)?;
        let parts = Arc::clone(telemetry.parts());
        let enabled = !parts.options.disabled;
        if let Some(filter) = filter {
            logs::install(
                filter,
                parts.logs.as_ref().map(|_| &parts.logger_provider),
                (tracing_spans && enabled).then_some(&parts.tracer_provider),
            )?;
        }
        otel_propagation::set_global(parts.propagator.clone());
        if enabled {
            if random {
                otel_propagation::declare_random_trace_ids(true);
            }
            otel_operation::set_tracer_provider(parts.tracer_provider.clone());
            global::set_meter_provider(parts.meter_provider.clone());
        }
        warn_of_problems(&telemetry);
        Ok(telemetry)
    }

    fn env(&mut self) -> Env {
        match self.env.take() {
            Some(variables) => Env::fixed(variables),
            None => Env::of_process(),
        }
    }
}

fn warn_of_problems(telemetry: &Telemetry) {
    for problem in telemetry.env_problems() {
        tracing::warn!(name: "env.ignored", variable = problem.variable, "{problem}");
    }
}
