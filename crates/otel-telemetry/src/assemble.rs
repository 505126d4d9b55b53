//! The set-up: from the builder's options and the environment to running providers.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Key;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanLimits};
use otel_propagation::CompositePropagator;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::baggage::CopyBaggage;
use crate::batch::{
    BatchLogs, BatchOptions, BatchSpans, DynDeliver, OwnedLog, Queue, deliver_logs, deliver_spans, queue, run,
};
use crate::builder::TelemetryBuilder;
use crate::config::{Exporter, Otlp, Protocol, Signal, resolve_batch, resolve_metric_export, span_limits};
use crate::env::Env;
use crate::error::SetupError;
use crate::health::Health;
use crate::ids::RequestedOrRandomIds;
use crate::metrics::{MetricsState, TimedMetrics, observe_queue};
use crate::otlp::OtlpExporter;
use crate::resource;
use crate::runtime::{self, ExportThread};
use crate::sampler::{self, EnvError, Sampler};
use crate::status::ExportStatus;
use crate::telemetry::{Running, Telemetry};

/// Resolves all options before it starts anything, so that an error leaves no thread behind.
pub(crate) fn assemble(mut builder: TelemetryBuilder, mut env: Env) -> Result<Telemetry, SetupError> {
    builder.options.disabled = env.flag("OTEL_SDK_DISABLED").unwrap_or(false);
    let enabled = !builder.options.disabled;
    let resource = resource::resolve(&builder.resource_options, &mut env);
    let sampler = sampler(&mut builder, &resource, &mut env);
    // The application's function can set another sampler.
    builder.options.follows_unsampled_parents =
        builder.traces.is_none() && sampler.follows_unsampled_parents();
    let propagator = propagator(builder.propagator.take(), &mut env);
    let mut traces = target(&builder, Signal::Traces, &mut env);
    let metrics = target(&builder, Signal::Metrics, &mut env);
    let mut logs = target(&builder, Signal::Logs, &mut env);
    let span_batch = resolve_batch(builder.span_batch.clone(), "OTEL_BSP", &mut env);
    let log_batch = resolve_batch(builder.log_batch.clone(), "OTEL_BLRP", &mut env);
    let limits = span_limits(&mut env);
    let in_code = (builder.metric_interval, builder.metric_timeout);
    let (interval, timeout) = resolve_metric_export(in_code, &mut env);
    let temporality = env.choice(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        &[
            ("cumulative", Temporality::Cumulative),
            ("delta", Temporality::Delta),
            ("lowmemory", Temporality::LowMemory),
        ],
    );
    env.check_unsupported();
    let problems = env.into_problems();
    if builder.strict_env && problems.iter().any(|problem| !problem.is_unsupported()) {
        return Err(SetupError::Environment(problems));
    }

    let control = runtime::control().map_err(SetupError::Thread)?;
    let span_batch = traces.limit_attempts(span_batch);
    let log_batch = logs.limit_attempts(log_batch);
    let description = if enabled {
        let fields: Vec<_> = propagator.fields().collect();
        format!(
            "telemetry of {:?}: traces to {}; metrics to {}, every {interval:?} within {timeout:?}; logs to {}; \
             sampler {sampler}; propagated fields {}; shutdown within {:?}",
            service_name(&resource),
            traces.describe(Some(&span_batch)),
            metrics.describe(None),
            logs.describe(Some(&log_batch)),
            if fields.is_empty() { "none".to_owned() } else { fields.join(", ") },
            builder.options.shutdown_timeout,
        )
    } else {
        "telemetry is disabled by OTEL_SDK_DISABLED".to_owned()
    };
    let custom = (builder.span_exporter.take(), builder.log_exporter.take());
    let spans = traces.start_queue(span_batch, &resource, |status| traces.span_exporter(custom.0, status))?;
    let records = logs.start_queue(log_batch, &resource, |status| logs.log_exporter(custom.1, status))?;

    let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
    let state = Arc::new(MetricsState {
        status: Arc::clone(&metrics.status),
        cancelled: tokio::sync::watch::Sender::new(false),
        ended: tokio::sync::watch::Sender::new(true),
    });
    let reader = MetricsReader { interval, timeout, state: &state };
    let temporality = temporality.unwrap_or(Temporality::Cumulative);
    match &metrics.sink {
        Sink::Otlp(otlp) => {
            let thread = ExportThread::new().map_err(SetupError::Thread)?;
            let exporter = {
                let _entered = thread.enter();
                OtlpExporter::new(otlp, temporality, Arc::clone(&metrics.status))?
            };
            let runtime = thread.serve("otel-metrics".into()).map_err(SetupError::Thread)?;
            meters = meters.with_reader(reader.build(exporter, runtime));
        }
        Sink::Stdout => {
            let exporter =
                opentelemetry_stdout::MetricExporter::builder().with_temporality(temporality).build();
            meters = meters.with_reader(reader.build(exporter, (control.clone(), None)));
        }
        Sink::Custom | Sink::Nowhere | Sink::Off(_) => {}
    }
    if let Some(map) = builder.metrics.take().filter(|_| metrics.enabled) {
        meters = map(meters);
    }
    let meter_provider = meters.build();

    let mut tracers = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_id_generator(RequestedOrRandomIds::default())
        // The SDK reads limits from the environment of the process, which `with_env` replaces.
        .with_span_limits(SpanLimits::default())
        .with_sampler(sampler);
    let mut loggers = SdkLoggerProvider::builder().with_resource(resource.clone());
    if traces.enabled && !builder.baggage.is_empty() {
        let copy = CopyBaggage::new(&builder.baggage);
        tracers = tracers.with_span_processor(copy.clone());
        loggers = loggers.with_log_processor(copy);
    }
    if let Some(map) = builder.traces.take().filter(|_| traces.enabled) {
        tracers = map(tracers);
    }
    for (set, limit) in limits {
        tracers = set(tracers, limit);
    }
    if let Some(map) = builder.logs.take().filter(|_| logs.enabled) {
        loggers = map(loggers);
    }

    if let Some(queue) = &spans {
        observe_queue(&meter_provider, "span", traces.component(), queue.shared());
    }
    if let Some(queue) = &records {
        observe_queue(&meter_provider, "log", logs.component(), queue.shared());
    }
    if let Some(queue) = &spans {
        tracers = tracers.with_span_processor(BatchSpans(queue.clone()));
    }
    if let Some(queue) = &records {
        loggers = loggers.with_log_processor(BatchLogs(queue.clone()));
    }
    Ok(Telemetry::new(Running {
        tracer_provider: tracers.build(),
        meter_provider,
        logger_provider: loggers.build(),
        spans,
        logs: records,
        metrics: state,
        health: Health::new([traces, metrics, logs].map(|target| target.status).into()),
        propagator,
        options: builder.options,
        problems,
        description,
        installed: false.into(),
        control,
        flush_turns: Default::default(),
    }))
}

fn sampler(builder: &mut TelemetryBuilder, resource: &Resource, env: &mut Env) -> Sampler {
    let argument = env.get("OTEL_TRACES_SAMPLER_ARG");
    if let Some(name) = env.get("OTEL_TRACES_SAMPLER") {
        match Sampler::from_env(&name, argument.as_deref()) {
            Ok(sampler) => return sampler,
            Err(EnvError::InvalidArgument { argument }) => {
                env.problem("OTEL_TRACES_SAMPLER_ARG", &argument, "a number from 0 to 1");
                // As the specification requires, an invalid argument counts as unset.
                if let Ok(sampler) = Sampler::from_env(&name, None) {
                    return sampler;
                }
            }
            Err(_) => env.problem("OTEL_TRACES_SAMPLER", &name, sampler::NAMES),
        }
    }
    match builder.sampler.take() {
        Some(make) => make(&service_name(resource)),
        None => Sampler::parent_based(Sampler::always()),
    }
}

fn service_name(resource: &Resource) -> String {
    let name = resource.get(&Key::from_static_str("service.name"));
    name.map(|name| name.to_string()).unwrap_or_default()
}

fn propagator(in_code: Option<CompositePropagator>, env: &mut Env) -> CompositePropagator {
    const VARIABLE: &str = "OTEL_PROPAGATORS";
    let Some(list) = env.get(VARIABLE) else {
        return in_code.unwrap_or_default();
    };
    CompositePropagator::from_list(&list).unwrap_or_else(|unknown| {
        for name in unknown.names() {
            env.problem(VARIABLE, name, "tracecontext, baggage, b3, b3multi, none");
        }
        unknown.into_known()
    })
}

/// The resolved destination of a signal.
struct Target {
    signal: Signal,
    enabled: bool,
    sink: Sink,
    status: Arc<ExportStatus>,
}

enum Sink {
    Otlp(Otlp),
    Stdout,
    Custom,
    Nowhere,
    /// No destination, for a reason that the health shows.
    Off(String),
}

fn target(builder: &TelemetryBuilder, signal: Signal, env: &mut Env) -> Target {
    let custom = match signal {
        Signal::Traces => builder.span_exporter.is_some(),
        Signal::Metrics => false,
        Signal::Logs => builder.log_exporter.is_some(),
    };
    let enabled = !builder.options.disabled;
    let sink = match Exporter::in_env(signal, env) {
        _ if !enabled => Sink::Nowhere,
        None if custom => Sink::Custom,
        chosen => match chosen.unwrap_or(builder.exporters[signal as usize]) {
            Exporter::Otlp => builder.otlp.resolve(signal, env).map_or_else(Sink::Off, Sink::Otlp),
            Exporter::OtlpIfConfigured => match builder.otlp.resolve(signal, env) {
                Ok(otlp) if otlp.is_in_env => Sink::Otlp(otlp),
                Ok(_) => Sink::Nowhere,
                Err(reason) => Sink::Off(reason),
            },
            Exporter::Stdout => Sink::Stdout,
            Exporter::None => Sink::Nowhere,
        },
    };
    let destination = match &sink {
        Sink::Otlp(otlp) => otlp.shown_endpoint(),
        Sink::Stdout => "the standard output".to_owned(),
        Sink::Custom => "the application's exporter".to_owned(),
        Sink::Nowhere | Sink::Off(_) => "no destination".to_owned(),
    };
    let off = if let Sink::Off(reason) = &sink { Some(reason.clone()) } else { None };
    Target { signal, enabled, sink, status: Arc::new(ExportStatus::new(signal, destination, off)) }
}

impl Target {
    /// Makes the timeout of an OTLP export that of each attempt, and returns the options with the time of all attempts.
    fn limit_attempts(&mut self, mut batch: BatchOptions) -> BatchOptions {
        if let Sink::Otlp(otlp) = &mut self.sink {
            otlp.timeout = otlp.timeout.min(batch.export_timeout);
            // The exporter keeps its limits itself. The second is for encoding and compression.
            let second = Duration::from_secs(1);
            batch.export_timeout = otlp.retry_for.saturating_add(otlp.timeout).saturating_add(second);
        }
        batch
    }

    /// Creates the exporter and the queue of the signal, and starts the thread that exports.
    fn start_queue<T: Send + 'static>(
        &self,
        options: BatchOptions,
        resource: &Resource,
        exporter: impl FnOnce(Arc<ExportStatus>) -> Result<Option<DynDeliver<T>>, SetupError>,
    ) -> Result<Option<Queue<T>>, SetupError> {
        if matches!(self.sink, Sink::Nowhere | Sink::Off(_)) {
            return Ok(None);
        }
        let thread = ExportThread::new().map_err(SetupError::Thread)?;
        let exporter = {
            let _entered = thread.enter();
            exporter(Arc::clone(&self.status))?
        };
        let Some(mut exporter) = exporter else { return Ok(None) };
        exporter.set_resource(resource);
        let (queue, intake) = queue(options, Arc::clone(&self.status));
        thread.start(format!("otel-{}", self.signal), run(intake, exporter)).map_err(SetupError::Thread)?;
        Ok(Some(queue))
    }

    /// Describes the destination without secrets.
    fn describe(&self, batch: Option<&BatchOptions>) -> String {
        let mut text = self.status.destination().to_owned();
        if let Sink::Otlp(otlp) = &self.sink {
            let protocol = match otlp.protocol {
                Protocol::Grpc => "grpc",
                Protocol::HttpProtobuf => "http/protobuf",
            };
            let compression = if otlp.gzip { ", gzip" } else { "" };
            let mut headers: Vec<_> = otlp.headers.keys().map(String::as_str).collect();
            headers.sort_unstable();
            let headers = match headers.is_empty() {
                true => String::new(),
                false => format!(", headers {}", headers.join(" ")),
            };
            text = format!(
                "{text} by {protocol}{compression}{headers}, attempts of {:?}, retries for {:?}",
                otlp.timeout, otlp.retry_for
            );
        }
        if let Some(batch) = batch.filter(|_| !matches!(self.sink, Sink::Nowhere | Sink::Off(_))) {
            let BatchOptions { max_queue_size, max_batch_size, schedule_delay, .. } = batch;
            text = format!(
                "{text}, queue {max_queue_size}, batches of {max_batch_size} every {schedule_delay:?}"
            );
        }
        text
    }

    fn span_exporter(
        &self,
        custom: Option<DynDeliver<SpanData>>,
        status: Arc<ExportStatus>,
    ) -> Result<Option<DynDeliver<SpanData>>, SetupError> {
        Ok(match &self.sink {
            Sink::Otlp(otlp) => Some(deliver_spans(OtlpExporter::new(otlp, Temporality::default(), status)?)),
            Sink::Stdout => Some(deliver_spans(opentelemetry_stdout::SpanExporter::default())),
            Sink::Custom => custom,
            Sink::Nowhere | Sink::Off(_) => None,
        })
    }

    fn log_exporter(
        &self,
        custom: Option<DynDeliver<OwnedLog>>,
        status: Arc<ExportStatus>,
    ) -> Result<Option<DynDeliver<OwnedLog>>, SetupError> {
        Ok(match &self.sink {
            Sink::Otlp(otlp) => Some(deliver_logs(OtlpExporter::new(otlp, Temporality::default(), status)?)),
            Sink::Stdout => Some(deliver_logs(opentelemetry_stdout::LogExporter::default())),
            Sink::Custom => custom,
            Sink::Nowhere | Sink::Off(_) => None,
        })
    }

    /// Returns the `otel.component.type` of the exporter, as in the semantic conventions.
    fn component(&self) -> &'static str {
        let grpc = matches!(&self.sink, Sink::Otlp(otlp) if otlp.protocol == Protocol::Grpc);
        match (&self.sink, self.signal) {
            (Sink::Otlp(_), Signal::Traces) if grpc => "otlp_grpc_span_exporter",
            (Sink::Otlp(_), Signal::Traces) => "otlp_http_span_exporter",
            (Sink::Otlp(_), Signal::Logs) if grpc => "otlp_grpc_log_exporter",
            (Sink::Otlp(_), Signal::Logs) => "otlp_http_log_exporter",
            _ => "custom_exporter",
        }
    }
}

/// The parameters of a metric reader, except for its exporter.
struct MetricsReader<'a> {
    interval: Duration,
    timeout: Duration,
    state: &'a Arc<MetricsState>,
}

impl MetricsReader<'_> {
    fn build<E: PushMetricExporter>(
        &self,
        exporter: E,
        runtime: (Handle, Option<oneshot::Sender<()>>),
    ) -> PeriodicReader<TimedMetrics<E>> {
        let exporter = TimedMetrics::new(exporter, self.timeout, runtime, Arc::clone(self.state));
        PeriodicReader::builder(exporter).with_interval(self.interval).build()
    }
}
