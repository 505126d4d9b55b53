//! The set-up: from the builder's options and the environment to running providers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use opentelemetry::Key;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanLimits};
use otel_propagation::CompositePropagator;

use crate::baggage::CopyBaggage;
use crate::batch::{
    BatchLogs, BatchSpans, DynDeliver, OwnedLog, Queue, deliver_logs, deliver_spans, queue, run,
};
use crate::builder::TelemetryBuilder;
use crate::config::{Exporter, Otlp, Protocol, Signal, resolve_batch, resolve_metric_export, span_limits};
use crate::env::Env;
use crate::error::SetupError;
use crate::exporters;
use crate::health::{FailureFn, Health, last_failed};
use crate::ids::RequestedOrRandomIds;
use crate::metrics::{MetricsState, TimedMetrics, observe_queue};
use crate::resource;
use crate::runtime::ExportRuntime;
use crate::sampler::{self, EnvError, Sampler};
use crate::telemetry::{Parts, Telemetry};

/// Resolves all options before it starts anything, so that an error leaves no thread behind.
pub(crate) fn assemble(mut builder: TelemetryBuilder, mut env: Env) -> Result<Telemetry, SetupError> {
    builder.options.disabled = env.flag("OTEL_SDK_DISABLED").unwrap_or(false);
    let resource = resource::resolve(&builder.resource_options, &mut env);
    let sampler = sampler(&mut builder, &resource, &mut env);
    // The application's function can set another sampler.
    builder.options.follows_unsampled_parents =
        builder.traces.is_none() && sampler.follows_unsampled_parents();
    let propagator = propagator(builder.propagator.take(), &mut env);
    let traces = target(&builder, Signal::Traces, &mut env);
    let metrics = target(&builder, Signal::Metrics, &mut env);
    let logs = target(&builder, Signal::Logs, &mut env);
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

    let runtime = ExportRuntime::start().map_err(SetupError::Thread)?;
    let entered = runtime.handle().enter();
    let custom = (builder.span_exporter.take(), builder.log_exporter.take());
    let span_exporter = traces.span_exporter(custom.0)?;
    let log_exporter = logs.log_exporter(custom.1)?;

    let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
    let state = Arc::new(MetricsState::default());
    let reader = MetricsReader { interval, timeout, runtime: &runtime, state: &state };
    let temporality = temporality.unwrap_or(Temporality::Cumulative);
    match &metrics.to {
        To::Otlp(otlp) => {
            let exporter = exporters::metrics(otlp, temporality)?;
            meters = meters.with_reader(reader.build(exporter));
        }
        To::Stdout => {
            let exporter =
                opentelemetry_stdout::MetricExporter::builder().with_temporality(temporality).build();
            meters = meters.with_reader(reader.build(exporter));
        }
        To::Custom | To::Nowhere | To::Off(_) => {}
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

    let mut failing: BTreeMap<Signal, Box<FailureFn>> = BTreeMap::new();
    let spans = span_exporter.map(|exporter| {
        let queue = start(Signal::Traces, span_batch, exporter, &resource, &runtime);
        observe_queue(&meter_provider, "span", traces.component(), queue.shared());
        let shared = Arc::clone(queue.shared());
        failing.insert(Signal::Traces, Box::new(move || last_failed(shared.account.is_failing())));
        queue
    });
    let records = log_exporter.map(|exporter| {
        let queue = start(Signal::Logs, log_batch, exporter, &resource, &runtime);
        observe_queue(&meter_provider, "log", logs.component(), queue.shared());
        let shared = Arc::clone(queue.shared());
        failing.insert(Signal::Logs, Box::new(move || last_failed(shared.account.is_failing())));
        queue
    });
    if let Some(queue) = &spans {
        tracers = tracers.with_span_processor(BatchSpans(queue.clone()));
    }
    if let Some(queue) = &records {
        loggers = loggers.with_log_processor(BatchLogs(queue.clone()));
    }
    let of_metrics = Arc::clone(&state);
    failing
        .insert(Signal::Metrics, Box::new(move || last_failed(of_metrics.failing.load(Ordering::Relaxed))));
    for Target { signal, to, .. } in [traces, metrics, logs] {
        if let To::Off(reason) = to {
            failing.insert(signal, Box::new(move || Some(reason.clone())));
        }
    }
    drop(entered);
    Ok(Telemetry::new(Parts {
        tracer_provider: tracers.build(),
        meter_provider,
        logger_provider: loggers.build(),
        spans,
        logs: records,
        metrics: state,
        health: Health::new(
            failing.into_iter().map(|(signal, failing)| (signal.to_string(), failing)).collect(),
        ),
        propagator,
        options: builder.options,
        problems,
        installed: false.into(),
        runtime,
    }))
}

/// Creates a queue and starts its worker on the export runtime.
fn start<T: Send + 'static>(
    signal: Signal,
    options: crate::batch::BatchOptions,
    mut exporter: DynDeliver<T>,
    resource: &Resource,
    runtime: &ExportRuntime,
) -> Queue<T> {
    exporter.set_resource(resource);
    let (queue, intake) = queue(options);
    runtime.handle().spawn(run(signal.name(), intake, exporter));
    queue
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
    let service = resource.get(&Key::from_static_str("service.name"));
    let service = service.map(|name| name.to_string()).unwrap_or_default();
    match builder.sampler.take() {
        Some(make) => make(&service),
        None => Sampler::parent_based(Sampler::always()),
    }
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
    to: To,
}

enum To {
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
    let to = match Exporter::in_env(signal, env) {
        _ if !enabled => To::Nowhere,
        None if custom => To::Custom,
        chosen => match chosen.unwrap_or(builder.exporters[signal as usize]) {
            Exporter::Otlp => builder.otlp.resolve(signal, env).map_or_else(To::Off, To::Otlp),
            Exporter::OtlpIfConfigured => match builder.otlp.resolve(signal, env) {
                Ok(otlp) if otlp.is_in_env => To::Otlp(otlp),
                Ok(_) => To::Nowhere,
                Err(reason) => To::Off(reason),
            },
            Exporter::Stdout => To::Stdout,
            Exporter::None => To::Nowhere,
        },
    };
    Target { signal, enabled, to }
}

impl Target {
    fn span_exporter(
        &self,
        custom: Option<DynDeliver<SpanData>>,
    ) -> Result<Option<DynDeliver<SpanData>>, SetupError> {
        Ok(match &self.to {
            To::Otlp(otlp) => Some(deliver_spans(exporters::spans(otlp)?)),
            To::Stdout => Some(deliver_spans(opentelemetry_stdout::SpanExporter::default())),
            To::Custom => custom,
            To::Nowhere | To::Off(_) => None,
        })
    }

    fn log_exporter(
        &self,
        custom: Option<DynDeliver<OwnedLog>>,
    ) -> Result<Option<DynDeliver<OwnedLog>>, SetupError> {
        Ok(match &self.to {
            To::Otlp(otlp) => Some(deliver_logs(exporters::logs(otlp)?)),
            To::Stdout => Some(deliver_logs(opentelemetry_stdout::LogExporter::default())),
            To::Custom => custom,
            To::Nowhere | To::Off(_) => None,
        })
    }

    /// Returns the `otel.component.type` of the exporter, as in the semantic conventions.
    fn component(&self) -> &'static str {
        let grpc = matches!(&self.to, To::Otlp(otlp) if otlp.protocol == Protocol::Grpc);
        match (&self.to, self.signal) {
            (To::Otlp(_), Signal::Traces) if grpc => "otlp_grpc_span_exporter",
            (To::Otlp(_), Signal::Traces) => "otlp_http_span_exporter",
            (To::Otlp(_), Signal::Logs) if grpc => "otlp_grpc_log_exporter",
            (To::Otlp(_), Signal::Logs) => "otlp_http_log_exporter",
            _ => "custom_exporter",
        }
    }
}

/// The parameters of a metric reader, except for its exporter.
struct MetricsReader<'a> {
    interval: std::time::Duration,
    timeout: std::time::Duration,
    runtime: &'a ExportRuntime,
    state: &'a Arc<MetricsState>,
}

impl MetricsReader<'_> {
    fn build<E: PushMetricExporter>(&self, exporter: E) -> PeriodicReader<TimedMetrics<E>> {
        let exporter =
            TimedMetrics::new(exporter, self.timeout, self.runtime.handle().clone(), Arc::clone(self.state));
        PeriodicReader::builder(exporter).with_interval(self.interval).build()
    }
}
